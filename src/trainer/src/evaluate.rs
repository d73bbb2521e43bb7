//! Evaluation: the loss of every window of the held-out documents, and the log-probability of every choice of a
//! task. One row per item; nothing is averaged here.
//!
//! Both are the same question, how probable some tokens are after others, so both become [`Span`]s, which
//! [`reading`](crate::reading) lays out in sequences of few lengths. A batch holds sequences of one length: how many
//! they are, and so the batch size, changes no score but for the last bits of a sum.

use std::time::Instant;

use harness_core::contract::{Evaluation, Job, JobTask, OutputFile};
use harness_core::scores::{self, ChoiceScore, Request, WindowLoss};
use harness_core::shards::TokenStream;
use harness_core::token_losses::TokenLosses;
use harness_core::{Digest, files};
use tch::{Device, Tensor};

use crate::batch::{open_stream, to_device};
use crate::error::Error;
use crate::model::mask::Packing;
use crate::model::{Transformer, loss};
use crate::reading::{self, Reading};

/// Tokens (padding included) of one forward pass, unless the job says how many sequences.
const BATCH_TOKENS: usize = 4096;

/// Tokens whose probability is asked for: `targets` are predicted at the last positions of `inputs`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// What the model reads; at most the context length.
    pub inputs: Vec<i64>,
    /// What it should predict; not more than `inputs`.
    pub targets: Vec<i64>,
}

/// How probable a span's targets are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpanScore {
    /// Natural logarithm of the probability of all targets.
    pub log_probability_nats: f64,
    /// Whether each target was the most probable token.
    pub greedy: bool,
}

/// Held-out data and tasks of a job, read and checked before training begins.
pub struct Evaluator {
    documents: Option<TokenStream>,
    tasks: Vec<(JobTask, Vec<Request>)>,
    context_length: usize,
    batch_size: usize,
    separator: u32,
}

impl Evaluator {
    /// Opens the validation shards and reads the tasks' requests.
    pub fn open(job: &Job) -> Result<Self, Error> {
        let documents = match job.validation_shards.as_slice() {
            [] => None,
            paths => Some(open_stream(paths, job.vocabulary_size)?),
        };
        let mut tasks = Vec::new();
        for task in &job.tasks {
            let requests = scores::read_requests(&task.requests)?;
            let unknown = |r: &&Request| {
                let tokens = r.context.iter().chain(&r.continuation).chain(&r.unconditional);
                tokens.into_iter().any(|&id| id >= job.vocabulary_size)
            };
            if let Some(request) = requests.iter().find(unknown) {
                return Err(Error::Data(format!(
                    "`{}`: item {} holds a token outside the vocabulary of {} tokens",
                    task.requests.display(),
                    request.item,
                    job.vocabulary_size
                )));
            }
            tasks.push((task.clone(), requests));
        }
        Ok(Evaluator {
            documents,
            tasks,
            context_length: job.model.context_length as usize,
            separator: job.separator,
            batch_size: job.evaluation_batch_size as usize,
        })
    }

    /// Evaluates as asked and writes the files of `evaluations/step-NNNNNNNN/`. `None` if `should_stop` said so before the
    /// end; then nothing is left half written.
    pub fn run(
        &self,
        model: &Transformer,
        job: &Job,
        wanted: Wanted,
        at: (u64, u64),
        device: Device,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<Evaluation>, Error> {
        let start = Instant::now();
        let (step, tokens) = at;
        let mut written = Vec::new();
        let mut write = |name: &str, bytes: Vec<u8>| -> Result<(), Error> {
            let path = format!("evaluations/step-{step:08}/{name}");
            files::write(&job.output.join(&path), &bytes)?;
            written.push(OutputFile { path, sha256: Digest::of(&bytes), size_bytes: bytes.len() as u64 });
            Ok(())
        };
        if wanted.validation
            && let Some(documents) = &self.documents
        {
            let found = validation(model, documents, self.context_length, self.batch_size, device, should_stop)?;
            let Some((rows, tokens)) = found else { return Ok(None) };
            write("validation.csv", scores::to_csv(rows))?;
            if wanted.token_losses {
                write("validation.tokens", tokens.to_bytes())?;
            }
        }
        for (task, requests) in self.tasks.iter().filter(|_| wanted.tasks) {
            let windows = Windows { context_length: self.context_length, separator: self.separator, task };
            let Some(rows) = task_scores(model, requests, windows, self.batch_size, device, should_stop)? else {
                return Ok(None);
            };
            write(&format!("{}.csv", task.id), scores::to_csv(rows))?;
        }
        let wall_time_s = start.elapsed().as_secs_f64();
        Ok(Some(Evaluation { step, tokens, files: written, wall_time_s }))
    }
}

/// What an evaluation is to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The loss on the held-out documents.
    pub validation: bool,
    /// With that loss, the one of each token.
    pub token_losses: bool,
    /// The tasks.
    pub tasks: bool,
}

/// The windows of a document of `tokens` tokens: (first token predicted, tokens predicted). Each token after the
/// leading separator is predicted once; a window's first context is the last token predicted before it.
pub fn windows(tokens: u64, context_length: u64) -> impl Iterator<Item = (u64, u64)> {
    (1..tokens).step_by(context_length as usize).map(move |first| (first, context_length.min(tokens - first)))
}

fn validation(
    model: &Transformer,
    stream: &TokenStream,
    context_length: usize,
    batch_size: usize,
    device: Device,
    should_stop: &dyn Fn() -> bool,
) -> Result<Option<(Vec<WindowLoss>, TokenLosses)>, Error> {
    let (mut rows, mut spans) = (Vec::new(), Vec::new());
    let mut document = 0;
    for shard in stream.shards() {
        for place in shard.documents() {
            for (first_token, tokens) in windows(place.tokens, context_length as u64) {
                let mut text = vec![0; tokens as usize + 1];
                shard.copy_tokens(place.first_token + first_token - 1, &mut text);
                rows.push(WindowLoss { document, first_token, tokens, loss_nats: 0.0 });
                spans.push(Span { inputs: text[..text.len() - 1].to_vec(), targets: text[1..].to_vec() });
            }
            document += 1;
        }
    }
    let Some(tokens) = predict(model, &spans, batch_size, device, should_stop)? else { return Ok(None) };
    for (row, score) in rows.iter_mut().zip(sums(&spans, &tokens)) {
        row.loss_nats = -score.log_probability_nats;
    }
    Ok(Some((rows, tokens)))
}

/// The span of a request, as lm-evaluation-harness forms it: context and continuation are cut from the left to one
/// token more than the context length, and the last token is not read, only predicted. (A continuation longer than
/// the context length, which lm-evaluation-harness refuses, keeps its last tokens.)
pub fn span_of(request: &Request, context_length: usize) -> Span {
    let all: Vec<i64> = request.context.iter().chain(&request.continuation).map(|&id| i64::from(id)).collect();
    let kept = &all[all.len().saturating_sub(context_length + 1)..];
    let inputs = &kept[..kept.len() - 1];
    let scored = request.continuation.len().min(inputs.len());
    Span { inputs: inputs.to_vec(), targets: kept[kept.len() - scored..].to_vec() }
}

/// The windows that roll over a document, as `get_rolling_token_windows` of lm-evaluation-harness gives them: the first
/// predicts as many tokens as the context holds, each later one the next `stride` (0: the context length) with all
/// the context that fits before them, and so does the last, which predicts what is left.
pub fn rolling_spans(request: &Request, context_length: usize, stride: usize) -> Vec<Span> {
    let before = request.context.last().copied();
    // With the token before it in front, the targets from `i` on are predicted from the tokens up to `i`.
    let all: Vec<i64> = before.iter().chain(&request.continuation).map(|&id| i64::from(id)).collect();
    let stride = if stride == 0 { context_length } else { stride.min(context_length) };
    let mut spans = Vec::new();
    let mut predicted = 0;
    while predicted < request.continuation.len() {
        let most = if predicted == 0 { context_length } else { stride };
        let count = most.min(request.continuation.len() - predicted);
        predicted += count;
        let inputs = all[predicted.saturating_sub(context_length)..predicted].to_vec();
        spans.push(Span { inputs, targets: all[predicted + 1 - count..=predicted].to_vec() });
    }
    spans
}

/// How the requests of a task become spans.
#[derive(Clone, Copy)]
struct Windows<'a> {
    context_length: usize,
    separator: u32,
    task: &'a JobTask,
}

impl Windows<'_> {
    fn of(self, request: &Request) -> Vec<Span> {
        match self.task.rolling_stride {
            None => vec![span_of(request, self.context_length)],
            Some(stride) => rolling_spans(request, self.context_length, stride as usize),
        }
    }

    /// The choice on its own, after the separator.
    fn without_context(self, request: &Request) -> Option<Span> {
        let (context, continuation) = (vec![self.separator], request.unconditional.clone());
        let alone = Request { context, continuation, ..request.clone() };
        (!request.unconditional.is_empty()).then(|| span_of(&alone, self.context_length))
    }
}

fn task_scores(
    model: &Transformer,
    requests: &[Request],
    windows: Windows<'_>,
    batch_size: usize,
    device: Device,
    should_stop: &dyn Fn() -> bool,
) -> Result<Option<Vec<ChoiceScore>>, Error> {
    let (mut rows, mut spans, mut owners) = (Vec::new(), Vec::new(), Vec::new());
    for (row, request) in requests.iter().enumerate() {
        rows.push(ChoiceScore {
            item: request.item,
            choice: request.choice,
            gold: request.gold,
            characters: request.characters,
            tokens: 0,
            log_probability_nats: 0.0,
            greedy: true,
            bytes: request.bytes,
            words: request.words,
            unconditional_log_probability_nats: None,
        });
        let with_context = windows.of(request).into_iter().map(|span| (span, (row, true)));
        let without = windows.without_context(request).into_iter().map(|span| (span, (row, false)));
        for (span, owner) in with_context.chain(without) {
            spans.push(span);
            owners.push(owner);
        }
    }
    let Some(scores) = score(model, &spans, batch_size, device, should_stop)? else { return Ok(None) };
    for (&(row, with_context), (span, score)) in owners.iter().zip(spans.iter().zip(scores)) {
        let row = &mut rows[row];
        if with_context {
            row.tokens += span.targets.len() as u64;
            row.log_probability_nats += score.log_probability_nats;
            row.greedy &= score.greedy;
        } else {
            row.unconditional_log_probability_nats = Some(score.log_probability_nats);
        }
    }
    rows.sort_by_key(|row| (row.item, row.choice));
    Ok(Some(rows))
}

/// Scores spans in the order given, `batch_size` at a time. `None` if `should_stop` said so.
pub fn score(
    model: &Transformer,
    spans: &[Span],
    batch_size: usize,
    device: Device,
    should_stop: &dyn Fn() -> bool,
) -> Result<Option<Vec<SpanScore>>, Error> {
    Ok(predict(model, spans, batch_size, device, should_stop)?.map(|tokens| sums(spans, &tokens)))
}

/// The score of each span, from those of its targets.
fn sums(spans: &[Span], tokens: &TokenLosses) -> Vec<SpanScore> {
    let mut at = 0;
    let sum = |span: &Span| {
        let targets = at..at + span.targets.len();
        at = targets.end;
        SpanScore {
            log_probability_nats: tokens.loss_nats[targets.clone()].iter().map(|&loss| -f64::from(loss)).sum(),
            greedy: tokens.first_choice_right[targets].iter().all(|&right| right),
        }
    };
    spans.iter().map(sum).collect()
}

/// Predicts the targets of all spans, in their order. `None` if `should_stop` said so.
fn predict(
    model: &Transformer,
    spans: &[Span],
    batch_size: usize,
    device: Device,
    should_stop: &dyn Fn() -> bool,
) -> Result<Option<TokenLosses>, Error> {
    let readings = reading::readings(spans, model.width(), model.context_length());
    let answers = spans.iter().map(|span| span.targets.len()).sum();
    let mut tokens = TokenLosses {
        loss_nats: vec![0.0; answers],
        first_choice_probability: vec![0.0; answers],
        first_choice_right: vec![false; answers],
    };
    // From the longest on, so that memory runs out in the first batch or not at all.
    for same_shape in readings.chunk_by(|a, b| a.shape() == b.shape()).rev() {
        let (length, _) = same_shape[0].shape();
        let rows = if batch_size == 0 { (BATCH_TOKENS / length).max(1) } else { batch_size };
        for batch in same_shape.chunks(rows) {
            if should_stop() {
                return Ok(None);
            }
            predict_batch(model, batch, device, &mut tokens);
        }
    }
    Ok(Some(tokens))
}

/// Answers what is asked of sequences of one shape.
fn predict_batch(model: &Transformer, batch: &[Reading], device: Device, out: &mut TokenLosses) {
    let (length, branching) = batch[0].shape();
    let together = |of: fn(&Reading) -> &[i64]| {
        let all: Vec<i64> = batch.iter().flat_map(of).copied().collect();
        to_device(Tensor::from_slice(&all).view([batch.len() as i64, length as i64]), device) // (B, T)
    };
    // The positions whose hidden states are needed, and for each question its place among them and its target.
    let (mut positions, mut questions, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for (row, reading) in batch.iter().enumerate() {
        for (&at, asked) in &reading.asked {
            questions.extend(asked.iter().map(|asked| (positions.len(), asked.target)));
            answers.extend(asked.iter().map(|asked| asked.answer));
            positions.push((row * length + at) as i64);
        }
    }
    let found = tch::no_grad(|| {
        let packing = branching
            .then(|| Packing::branches(together(|reading| &reading.numbers), together(|reading| &reading.places)));
        let tokens = together(|reading| &reading.tokens);
        let hidden = model.hidden(&tokens, packing.as_ref(), 0.0).flatten(0, 1); // (B T, C)
        let wanted = hidden.index_select(0, &to_device(Tensor::from_slice(&positions), device)); // (N, C)
        loss::predictions(model.head(), &wanted, &questions)
    });
    for (answer, found) in answers.into_iter().zip(found) {
        out.loss_nats[answer] = -found.log_probability_nats as f32;
        out.first_choice_probability[answer] = found.first_choice_probability;
        out.first_choice_right[answer] = found.first_choice_right;
    }
}

#[cfg(test)]
mod tests {
    use harness_core::config::ModelConfig;
    use harness_core::shards::ShardWriter;
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::model::weights::Parameters;

    const VOCABULARY: u32 = 40;
    const CONTEXT: usize = 24;

    fn model() -> Transformer {
        let config = ModelConfig {
            layers: 2,
            heads: 2,
            width: 16,
            context_length: CONTEXT as u32,
            initialization_deviation: 0.3,
            ..ModelConfig::default()
        };
        Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu).model(&config, VOCABULARY, Kind::Float)
    }

    fn request(context: usize, continuation: usize, salt: usize) -> Request {
        let token = |i: usize| ((i * 31 + salt * 7) % VOCABULARY as usize) as u32;
        Request {
            item: salt as u64,
            choice: 0,
            gold: true,
            characters: 1,
            bytes: 1,
            words: 1,
            unconditional: Vec::new(),
            context: (0..context).map(token).collect(),
            continuation: (context..context + continuation).map(token).collect(),
        }
    }

    /// lm-evaluation-harness, one request at a time and without padding.
    fn naive(model: &Transformer, request: &Request) -> (f64, bool) {
        let mut all: Vec<i64> = request.context.iter().chain(&request.continuation).map(|&t| i64::from(t)).collect();
        all = all[all.len().saturating_sub(CONTEXT + 1)..].to_vec();
        let inputs = Tensor::from_slice(&all[..all.len() - 1]).unsqueeze(0);
        let log_p = tch::no_grad(|| model.logits(&inputs).log_softmax(-1, Kind::Double).squeeze_dim(0));
        let (mut sum, mut greedy) = (0.0, true);
        let count = request.continuation.len();
        for (i, &token) in request.continuation.iter().enumerate() {
            let row = log_p.get((all.len() - 1 - count + i) as i64);
            sum += row.double_value(&[i64::from(token)]);
            greedy &= row.argmax(-1, false).int64_value(&[]) == i64::from(token);
        }
        (sum, greedy)
    }

    #[test]
    fn scores_are_those_of_one_request_at_a_time() {
        let model = model();
        let lengths = [(1, 1), (1, 5), (3, 2), (20, 4), (23, 1), (24, 1), (30, 6), (100, 24), (2, 22), (9, 9)];
        let mut requests: Vec<Request> = (0..60).map(|i| request(lengths[i % 10].0, lengths[i % 10].1, i)).collect();
        // Half of the continuations follow the model's own first choice, so that both answers to `greedy` occur.
        for request in requests.iter_mut().step_by(2).filter(|r| r.continuation.len() == 1) {
            let span = span_of(request, CONTEXT);
            let logits = model.logits(&Tensor::from_slice(&span.inputs).unsqueeze(0));
            request.continuation[0] = logits.get(0).get(-1).argmax(-1, false).int64_value(&[]) as u32;
        }
        // Every third is asked for without its context too.
        for request in requests.iter_mut().step_by(3) {
            request.unconditional = request.continuation.clone();
        }
        let task = JobTask { id: String::new(), requests: "".into(), rolling_stride: None };
        let windows = Windows { context_length: CONTEXT, separator: 0, task: &task };
        let rows = task_scores(&model, &requests, windows, 0, Device::Cpu, &|| false).unwrap().unwrap();
        assert_eq!(rows.len(), requests.len());
        for (row, request) in rows.iter().zip(&requests) {
            let (expected, greedy) = naive(&model, request);
            assert!((row.log_probability_nats - expected).abs() < 1e-4, "{row:?}: {expected}");
            assert_eq!((row.item, row.greedy), (request.item, greedy));
            let alone = (!request.unconditional.is_empty())
                .then(|| naive(&model, &Request { context: vec![0], ..request.clone() }).0);
            let difference =
                row.unconditional_log_probability_nats.zip(alone).map_or(0.0, |(found, alone)| found - alone);
            assert!(row.unconditional_log_probability_nats.is_some() == alone.is_some() && difference.abs() < 1e-4);
        }
        assert!(rows.iter().any(|row| row.greedy) && rows.iter().any(|row| !row.greedy));
    }

    #[test]
    fn a_score_does_not_depend_on_what_else_is_in_the_batch() {
        let model = model();
        let spans: Vec<Span> = (0..300).map(|i| span_of(&request(1 + i % 20, 1 + i % 4, i), CONTEXT)).collect();
        let together = score(&model, &spans, 0, Device::Cpu, &|| false).unwrap().unwrap();
        for batch_size in [1, 7, 64] {
            let parts = score(&model, &spans, batch_size, Device::Cpu, &|| false).unwrap().unwrap();
            for (part, whole) in parts.iter().zip(&together) {
                assert!((part.log_probability_nats - whole.log_probability_nats).abs() < 1e-5, "{batch_size}");
                assert_eq!(part.greedy, whole.greedy);
            }
        }
        for (span, whole) in spans.iter().zip(&together).step_by(7) {
            let alone = score(&model, std::slice::from_ref(span), 0, Device::Cpu, &|| false).unwrap().unwrap()[0];
            assert!((alone.log_probability_nats - whole.log_probability_nats).abs() < 1e-5);
            assert_eq!(alone.greedy, whole.greedy);
        }
    }

    #[test]
    fn a_request_is_cut_from_the_left_and_its_last_token_is_not_read() {
        let span = span_of(&request(30, 3, 0), CONTEXT);
        assert_eq!((span.inputs.len(), span.targets.len()), (CONTEXT, 3));
        assert_eq!(span.targets[..2], span.inputs[CONTEXT - 2..]);
        let short = span_of(&request(1, 2, 0), CONTEXT);
        assert_eq!((short.inputs.len(), short.targets.len()), (2, 2));
        let long = span_of(&request(1, 40, 0), CONTEXT);
        assert_eq!((long.inputs.len(), long.targets.len()), (CONTEXT, CONTEXT));
    }

    #[test]
    fn rolling_windows_are_those_of_the_reference() {
        // The example in the docstring of `get_rolling_token_windows`: tokens 0 to 8 after P (here 9), windows of 3 tokens
        // that keep 2 of context, so 2 new ones each.
        let document = Request { context: vec![9], continuation: (0..9).collect(), ..request(1, 1, 0) };
        let spans: Vec<(Vec<i64>, Vec<i64>)> =
            rolling_spans(&document, 3, 2).into_iter().map(|span| (span.inputs, span.targets)).collect();
        let expected = [
            (vec![9, 0, 1], vec![0, 1, 2]),
            (vec![1, 2, 3], vec![3, 4]),
            (vec![3, 4, 5], vec![5, 6]),
            (vec![5, 6, 7], vec![7, 8]),
        ];
        assert_eq!(spans, expected);
        let whole: Vec<i64> = rolling_spans(&document, 4, 0).into_iter().flat_map(|span| span.targets).collect();
        assert_eq!(whole, (0..9).collect::<Vec<i64>>());
        let last = rolling_spans(&document, 4, 0).pop().unwrap();
        assert_eq!((last.inputs, last.targets), (vec![4, 5, 6, 7], vec![8]), "the last window is full of context");
    }

    #[test]
    fn a_tie_goes_to_the_lowest_token() {
        let config = ModelConfig { layers: 1, heads: 1, width: 4, context_length: 4, ..ModelConfig::default() };
        let parameters = Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu);
        let embedding = parameters.named().find(|(name, _)| *name == "token_embedding").unwrap().1;
        tch::no_grad(|| drop(embedding.shallow_clone().fill_(0.0)));
        let model = parameters.model(&config, VOCABULARY, Kind::Float);
        let span = |target| Span { inputs: vec![1, 2], targets: vec![target] };
        let scores = score(&model, &[span(0), span(1)], 0, Device::Cpu, &|| false).unwrap().unwrap();
        assert_eq!((scores[0].greedy, scores[1].greedy), (true, false));
        assert_eq!(scores[0].log_probability_nats, scores[1].log_probability_nats);
    }

    proptest! {
        #[test]
        fn windows_predict_each_token_once(tokens in 1u64..400, context_length in 1u64..50) {
            let mut next = 1;
            for (first, count) in windows(tokens, context_length) {
                prop_assert_eq!(first, next);
                prop_assert!(count >= 1 && count <= context_length);
                next += count;
            }
            prop_assert_eq!(next, tokens);
        }
    }

    #[test]
    fn validation_covers_every_document_of_every_shard() {
        let folder = tempfile::tempdir().unwrap();
        let documents: Vec<Vec<u32>> =
            [5usize, 0, 24, 25, 60, 1].map(|n| (0..n as u32).map(|i| i % 39 + 1).collect()).into();
        let mut paths = Vec::new();
        for (i, half) in documents.chunks(3).enumerate() {
            let mut writer = ShardWriter::new(VOCABULARY);
            half.iter().for_each(|d| writer.push(0, d, 1));
            paths.push(folder.path().join(i.to_string()));
            writer.write(&paths[i]).unwrap();
        }
        let (model, stream) = (model(), TokenStream::open(&paths).unwrap());
        let (rows, tokens) = validation(&model, &stream, CONTEXT, 0, Device::Cpu, &|| false).unwrap().unwrap();
        let places: Vec<(u64, u64, u64)> = rows.iter().map(|r| (r.document, r.first_token, r.tokens)).collect();
        let expected = [(0, 1, 5), (2, 1, 24), (3, 1, 24), (3, 25, 1), (4, 1, 24), (4, 25, 24), (4, 49, 12), (5, 1, 1)];
        assert_eq!(places, expected);
        // The second window of document 4 by hand: it reads tokens 24 to 47 and predicts 25 to 48.
        let text: Vec<i64> = std::iter::once(0).chain(documents[4].iter().map(|&t| i64::from(t))).collect();
        let log_p = model.logits(&Tensor::from_slice(&text[24..48]).unsqueeze(0)).log_softmax(-1, Kind::Double).get(0);
        let by_hand: f64 = (0..24).map(|i| -log_p.double_value(&[i, text[25 + i as usize]])).sum();
        assert!((rows[5].loss_nats - by_hand).abs() < 1e-4);
        // The tokens of that window stand behind the 78 of the rows before it.
        let logits = model.logits(&Tensor::from_slice(&text[24..48]).unsqueeze(0)).get(0);
        assert_eq!(tokens.len(), 115);
        for i in 0..24 {
            let (at, row) = (78 + i, log_p.get(i as i64));
            assert!((f64::from(tokens.loss_nats[at]) + row.double_value(&[text[25 + i]])).abs() < 1e-5);
            assert!((f64::from(tokens.first_choice_probability[at]) - row.exp().max().double_value(&[])).abs() < 1e-5);
            let first_choice = logits.get(i as i64).argmax(-1, false).int64_value(&[]);
            assert_eq!(tokens.first_choice_right[at], first_choice == text[25 + i]);
        }
        assert!(validation(&model, &stream, CONTEXT, 0, Device::Cpu, &|| true).unwrap().is_none());
    }
}
