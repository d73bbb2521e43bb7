//! The same weights under both names. A tensor of ours is one of theirs, or several one after the other: we keep the
//! projections to queries, keys and values in one, and Llama the gate and its values in two. GPT-2 keeps its
//! matrices as (in, out), ours and Llama's are (out, in).

use super::{Architecture, HuggingFaceError};
use crate::config::ModelConfig;
use crate::weights::{Tensor, Tensors};

/// How a tensor of ours is made of theirs.
struct Correspondence {
    /// Our name; none where we have no such tensor and theirs is zero.
    ours: Option<String>,
    parts: Vec<Part>,
}

/// One tensor of theirs.
struct Part {
    name: String,
    /// Its shape in our orientation.
    shape: Vec<usize>,
    transposed: bool,
}

/// Their tensors from ours.
pub fn to_hugging_face(
    architecture: Architecture,
    model: &ModelConfig,
    vocabulary_size: u32,
    ours: &Tensors,
) -> Result<Tensors, HuggingFaceError> {
    let mut theirs = Tensors::new();
    for Correspondence { ours: name, parts } in correspondences(architecture, model, vocabulary_size) {
        let mut first = 0;
        for part in parts {
            let rows = part.shape[0];
            let tensor = match &name {
                Some(name) => {
                    let whole = find(ours, name, first + rows, &part.shape[1..])?;
                    whole.rows(first, rows)
                }
                None => Tensor::zeros(&part.shape),
            };
            first += rows;
            theirs.insert(part.name, if part.transposed { tensor.transposed() } else { tensor });
        }
    }
    Ok(theirs)
}

/// Our tensors from theirs. The names of GPT-2 may lack the prefix `transformer.`, as in the files of its authors.
pub fn from_hugging_face(
    architecture: Architecture,
    model: &ModelConfig,
    vocabulary_size: u32,
    mut theirs: Tensors,
) -> Result<Tensors, HuggingFaceError> {
    let mut ours = Tensors::new();
    for Correspondence { ours: name, parts } in correspondences(architecture, model, vocabulary_size) {
        let mut taken = Vec::new();
        for part in parts {
            let shape = if part.transposed { part.shape.iter().rev().copied().collect() } else { part.shape };
            let short = part.name.strip_prefix("transformer.").unwrap_or(&part.name);
            let found = theirs.remove(&part.name).or_else(|| theirs.remove(short));
            match found {
                Some(tensor) if tensor.shape == shape => {
                    taken.push(if part.transposed { tensor.transposed() } else { tensor });
                }
                other => {
                    return Err(HuggingFaceError::Tensor { name: part.name, shape, found: other.map(|t| t.shape) });
                }
            }
        }
        if let Some(name) = name {
            ours.insert(name, Tensor::stacked(&taken));
        }
    }
    // A tied head may be written out again; masks and frequencies are no weights.
    let is_no_weight = |name: &str| {
        (model.tied_embeddings && name == "lm_head.weight")
            || [".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq"].iter().any(|end| name.ends_with(end))
    };
    let mut extra = theirs.into_keys().filter(|name| !is_no_weight(name));
    match extra.next() {
        None => Ok(ours),
        Some(first) => Err(HuggingFaceError::Extra { count: extra.count() + 1, first }),
    }
}

/// A tensor of at least `rows` rows of shape `rest`.
fn find<'a>(tensors: &'a Tensors, name: &str, rows: usize, rest: &[usize]) -> Result<&'a Tensor, HuggingFaceError> {
    let found = tensors.get(name);
    found.filter(|tensor| tensor.shape[0] >= rows && tensor.shape[1..] == *rest).ok_or_else(|| {
        let shape = std::iter::once(rows).chain(rest.iter().copied()).collect();
        HuggingFaceError::Tensor { name: name.to_owned(), shape, found: found.map(|t| t.shape.clone()) }
    })
}

fn correspondences(architecture: Architecture, model: &ModelConfig, vocabulary_size: u32) -> Vec<Correspondence> {
    let (c, v) = (model.width as usize, vocabulary_size as usize);
    let mut all = match architecture {
        Architecture::Gpt2 => gpt2(model, v),
        Architecture::Llama => llama(model, v),
    };
    if !model.tied_embeddings {
        all.push(one("head", "lm_head.weight", &[v, c], false));
    }
    all
}

fn one(ours: &str, theirs: &str, shape: &[usize], transposed: bool) -> Correspondence {
    let part = Part { name: theirs.to_owned(), shape: shape.to_vec(), transposed };
    Correspondence { ours: Some(ours.to_owned()), parts: vec![part] }
}

fn gpt2(model: &ModelConfig, v: usize) -> Vec<Correspondence> {
    let (c, t, f) = (model.width as usize, model.context_length as usize, model.feed_forward_width() as usize);
    let mut all = vec![
        one("token_embedding", "transformer.wte.weight", &[v, c], false),
        one("position_embedding", "transformer.wpe.weight", &[t, c], false),
    ];
    // The class always has biases; a model without them has zeros there.
    let mut add = |ours: String, theirs: String, shape: &[usize]| {
        all.push(one(&format!("{ours}.weight"), &format!("{theirs}.weight"), shape, shape.len() == 2));
        let mut bias = one(&format!("{ours}.bias"), &format!("{theirs}.bias"), &shape[..1], false);
        if !model.bias {
            bias.ours = None;
        }
        all.push(bias);
    };
    for i in 0..model.layers {
        let (ours, theirs) = (format!("blocks.{i}"), format!("transformer.h.{i}"));
        add(format!("{ours}.attention_norm"), format!("{theirs}.ln_1"), &[c]);
        add(format!("{ours}.attention.query_key_value"), format!("{theirs}.attn.c_attn"), &[3 * c, c]);
        add(format!("{ours}.attention.output"), format!("{theirs}.attn.c_proj"), &[c, c]);
        add(format!("{ours}.feed_forward_norm"), format!("{theirs}.ln_2"), &[c]);
        add(format!("{ours}.feed_forward.input"), format!("{theirs}.mlp.c_fc"), &[f, c]);
        add(format!("{ours}.feed_forward.output"), format!("{theirs}.mlp.c_proj"), &[c, f]);
    }
    add("final_norm".to_owned(), "transformer.ln_f".to_owned(), &[c]);
    all
}

fn llama(model: &ModelConfig, v: usize) -> Vec<Correspondence> {
    let (c, f) = (model.width as usize, model.feed_forward_width() as usize);
    let key_value = model.resolved_key_value_heads() as usize * (c / model.heads as usize);
    let mut all = vec![one("token_embedding", "model.embed_tokens.weight", &[v, c], false)];
    for i in 0..model.layers {
        let (ours, theirs) = (format!("blocks.{i}"), format!("model.layers.{i}"));
        let mut add = |name: &str, parts: &[(&str, usize)], inputs: usize| {
            for end in ["weight", "bias"].into_iter().filter(|end| *end == "weight" || model.bias) {
                let part = |&(part, rows): &(&str, usize)| Part {
                    name: format!("{theirs}.{part}.{end}"),
                    shape: if end == "weight" { vec![rows, inputs] } else { vec![rows] },
                    transposed: false,
                };
                let parts = parts.iter().map(part).collect();
                all.push(Correspondence { ours: Some(format!("{ours}.{name}.{end}")), parts });
            }
        };
        let projections = [("self_attn.q_proj", c), ("self_attn.k_proj", key_value), ("self_attn.v_proj", key_value)];
        add("attention.query_key_value", &projections, c);
        add("attention.output", &[("self_attn.o_proj", c)], c);
        add("feed_forward.input", &[("mlp.gate_proj", f), ("mlp.up_proj", f)], c);
        add("feed_forward.output", &[("mlp.down_proj", c)], f);
        let norms = [("attention_norm", "input_layernorm"), ("feed_forward_norm", "post_attention_layernorm")];
        for (name, part) in norms {
            all.push(one(&format!("{ours}.{name}.weight"), &format!("{theirs}.{part}.weight"), &[c], false));
        }
    }
    all.push(one("final_norm.weight", "model.norm.weight", &[c], false));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: u32 = 11;

    /// Every tensor of the model, all values different.
    fn counted(model: &ModelConfig) -> Tensors {
        let mut next = 0.0;
        let mut count = |shape: &[u64]| {
            let shape: Vec<usize> = shape.iter().map(|&d| d as usize).collect();
            let mut tensor = Tensor::zeros(&shape);
            tensor.values.iter_mut().for_each(|value| {
                *value = next;
                next += 1.0;
            });
            tensor
        };
        model.tensors(VOCABULARY).into_iter().map(|tensor| (tensor.name, count(&tensor.shape))).collect()
    }

    #[test]
    fn both_ways_give_the_same_weights_and_leave_none_out() {
        let small = ModelConfig { layers: 2, heads: 4, width: 16, context_length: 8, ..ModelConfig::default() };
        let llama = ModelConfig { key_value_heads: 2, ..Architecture::Llama.with_fixed_choices() };
        let llama = ModelConfig { layers: 2, heads: 4, width: 16, context_length: 8, ..llama };
        for (bias, tied_embeddings) in [(true, true), (false, false)] {
            for (class, model) in [(Architecture::Gpt2, &small), (Architecture::Llama, &llama)] {
                let model = ModelConfig { bias, tied_embeddings, ..model.clone() };
                let ours = counted(&model);
                let theirs = to_hugging_face(class, &model, VOCABULARY, &ours).unwrap();
                let moved: usize = theirs.values().map(|t| t.values.iter().filter(|v| **v > 0.0).count()).sum();
                assert_eq!(moved, ours.values().map(|t| t.values.len()).sum::<usize>() - 1, "{class}");
                assert_eq!(from_hugging_face(class, &model, VOCABULARY, theirs).unwrap(), ours);
            }
        }
    }

    #[test]
    fn matrices_of_gpt2_are_turned_and_heads_keep_their_order() {
        let model = ModelConfig { layers: 1, heads: 2, width: 4, context_length: 8, ..ModelConfig::default() };
        let ours = counted(&model);
        let theirs = to_hugging_face(Architecture::Gpt2, &model, VOCABULARY, &ours).unwrap();
        let (before, after) =
            (&ours["blocks.0.attention.query_key_value.weight"], &theirs["transformer.h.0.attn.c_attn.weight"]);
        assert_eq!((before.shape.as_slice(), after.shape.as_slice()), ([12, 4].as_slice(), [4, 12].as_slice()));
        assert_eq!(before.values[5 * 4 + 3], after.values[3 * 12 + 5]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let model = ModelConfig { layers: 1, heads: 2, width: 4, context_length: 8, ..ModelConfig::default() };
        let theirs = to_hugging_face(Architecture::Gpt2, &model, VOCABULARY, &counted(&model)).unwrap();
        let without_prefix =
            theirs.iter().map(|(n, t)| (n.strip_prefix("transformer.").unwrap().to_owned(), t.clone()));
        let import = |theirs: Tensors| from_hugging_face(Architecture::Gpt2, &model, VOCABULARY, theirs);
        assert!(import(without_prefix.collect()).is_ok());
        let mut more = theirs.clone();
        more.insert("transformer.h.0.attn.bias".to_owned(), Tensor::zeros(&[1]));
        more.insert("lm_head.weight".to_owned(), Tensor::zeros(&[1]));
        assert!(import(more.clone()).is_ok());
        more.insert("transformer.h.0.adapter.weight".to_owned(), Tensor::zeros(&[1]));
        assert!(import(more).unwrap_err().to_string().contains("h.0.adapter.weight"));
        let mut fewer = theirs.clone();
        fewer.remove("transformer.ln_f.bias");
        assert!(import(fewer).unwrap_err().to_string().contains("no tensor `transformer.ln_f.bias` of shape [4]"));
        let mut other = theirs;
        other.insert("transformer.ln_f.bias".to_owned(), Tensor::zeros(&[5]));
        assert!(import(other).unwrap_err().to_string().contains("theirs is [5]"));
    }
}
