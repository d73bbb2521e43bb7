//! Named float32 tensors and the safetensors files they are kept in, for those who have no libtorch: the checkpoints
//! of a run, and the weights that other programs publish.
//!
//! The digest of named tensors stands for a model whatever file it lies in: SHA-256 over, for each tensor in order of
//! its name's bytes, the name's length (u32), the name, the number of dimensions (u32), each dimension (u64), and the
//! values in row-major order as float32; all little-endian.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::digest::{Digest, Hasher};
use crate::files::{self, FileError};

/// Values in row-major order with their shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// As many as the product of the dimensions.
    pub values: Vec<f32>,
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Why a file gives no tensors.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// It could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is torn, or no safetensors file.
    #[error("`{}` is not a safetensors file: {problem}", path.display())]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        problem: String,
    },
    /// A tensor is of a type that no model of ours has.
    #[error("`{}` keeps `{tensor}` as {found}; float32, float16 and bfloat16 can be read", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
}

impl Tensor {
    /// All zero.
    pub fn zeros(shape: &[usize]) -> Self {
        Tensor { shape: shape.to_vec(), values: vec![0.0; shape.iter().product()] }
    }

    /// Rows as columns: (R, C) to (C, R).
    pub fn transposed(&self) -> Self {
        let (rows, columns) = (self.shape[0], self.shape[1]);
        let values = (0..columns).flat_map(|c| (0..rows).map(move |r| self.values[r * columns + c])).collect();
        Tensor { shape: vec![columns, rows], values }
    }

    /// `count` entries of the first dimension, from `first` on.
    pub fn rows(&self, first: usize, count: usize) -> Self {
        let size: usize = self.shape[1..].iter().product();
        let shape = std::iter::once(count).chain(self.shape[1..].iter().copied()).collect();
        Tensor { shape, values: self.values[first * size..(first + count) * size].to_vec() }
    }

    /// Tensors one after the other along the first dimension; the others have to agree.
    pub fn stacked(parts: &[Tensor]) -> Self {
        let count = parts.iter().map(|part| part.shape[0]).sum();
        let shape = std::iter::once(count).chain(parts[0].shape[1..].iter().copied()).collect();
        Tensor { shape, values: parts.iter().flat_map(|part| part.values.iter().copied()).collect() }
    }

    fn bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }
}

/// Reads the tensors whose names `wanted` accepts. Half-precision values become the float32 of the same value.
pub fn read(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Tensors, WeightsError> {
    let bytes = files::read(path)?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| WeightsError::NotSafetensors { path: path.to_owned(), problem: format!("{e:?}") })?;
    let mut tensors = Tensors::new();
    for (name, view) in file.tensors().into_iter().filter(|(name, _)| wanted(name)) {
        let pairs = || view.data().chunks_exact(2).map(|b| [b[0], b[1]]);
        let values = match view.dtype() {
            Dtype::F32 => view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F16 => pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect(),
            Dtype::BF16 => pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
            other => {
                let found = format!("{other:?}");
                return Err(WeightsError::Type { path: path.to_owned(), tensor: name, found });
            }
        };
        tensors.insert(name, Tensor { shape: view.shape().to_vec(), values });
    }
    Ok(tensors)
}

/// Writes tensors as float32. `transformers` wants to be told that they came from PyTorch's kind of tensors.
pub fn write(path: &Path, tensors: &Tensors) -> Result<(), WeightsError> {
    let refused = |problem: String| WeightsError::NotSafetensors { path: path.to_owned(), problem };
    let bytes: Vec<(&String, &Tensor, Vec<u8>)> = tensors.iter().map(|(name, t)| (name, t, t.bytes())).collect();
    let views = bytes.iter().map(|(name, tensor, bytes)| {
        TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(|e| refused(format!("{e:?}")))?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let file = safetensors::serialize(views, &Some(metadata)).map_err(|e| refused(format!("{e:?}")))?;
    Ok(files::write(path, &file)?)
}

/// The digest of named tensors: name, shape, and float32 bytes in row-major order.
pub fn digest<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize], &'a [u8])>) -> Digest {
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_by_key(|(name, ..)| *name);
    let mut hasher = Hasher::new();
    for (name, shape, bytes) in tensors {
        hasher.update(&(name.len() as u32).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&(shape.len() as u32).to_le_bytes());
        shape.iter().for_each(|&dimension| hasher.update(&(dimension as u64).to_le_bytes()));
        hasher.update(bytes);
    }
    hasher.finish()
}

/// The digest of the tensors of a safetensors file whose names begin with `prefix`, named without it. All of them have to be
/// float32, as in the trainer's checkpoints. The file is mapped, not read into memory.
pub fn digest_of_file(path: &Path, prefix: &str) -> Result<Digest, WeightsError> {
    let file = files::open(path)?;
    // SAFETY: checkpoints are written once and renamed into place; should another program truncate one all the same, the
    // worst is a SIGBUS.
    let map = unsafe { Mmap::map(&file) }.map_err(|e| FileError::new("map", path, e))?;
    let file = SafeTensors::deserialize(&map)
        .map_err(|e| WeightsError::NotSafetensors { path: path.to_owned(), problem: format!("{e:?}") })?;
    let tensors = file.tensors();
    let named = || tensors.iter().filter_map(|(name, view)| Some((name.strip_prefix(prefix)?, view)));
    if let Some((name, view)) = named().find(|(_, view)| view.dtype() != Dtype::F32) {
        let found = format!("{:?}", view.dtype());
        return Err(WeightsError::Type { path: path.to_owned(), tensor: name.to_owned(), found });
    }
    Ok(digest(named().map(|(name, view)| (name, view.shape(), view.data()))))
}

/// The digest of tensors in memory.
pub fn digest_of(tensors: &Tensors) -> Digest {
    let bytes: Vec<(&str, &[usize], Vec<u8>)> =
        tensors.iter().map(|(name, t)| (name.as_str(), t.shape.as_slice(), t.bytes())).collect();
    digest(bytes.iter().map(|(name, shape, bytes)| (*name, *shape, bytes.as_slice())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(shape: &[usize]) -> Tensor {
        Tensor { shape: shape.to_vec(), values: (0..shape.iter().product()).map(|i: usize| i as f32).collect() }
    }

    #[test]
    fn parts_are_turned_cut_and_put_together() {
        let tensor = counted(&[2, 3]);
        assert_eq!(tensor.transposed().values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(tensor.transposed().transposed(), tensor);
        assert_eq!(Tensor::stacked(&[tensor.rows(0, 1), tensor.rows(1, 1)]), tensor);
        assert_eq!(counted(&[4]).rows(1, 2).values, [1.0, 2.0]);
    }

    #[test]
    fn what_is_written_is_read_and_half_precision_keeps_its_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let tensors = Tensors::from([("a".to_owned(), counted(&[2, 2])), ("b".to_owned(), counted(&[3]))]);
        write(&path, &tensors).unwrap();
        assert_eq!(read(&path, |_| true).unwrap(), tensors);
        assert_eq!(read(&path, |name| name == "b").unwrap().len(), 1);
        assert_eq!(digest_of_file(&path, "").unwrap(), digest_of(&tensors));

        let halves: Vec<u8> = [0x3c00u16, 0xc000].iter().flat_map(|h| h.to_le_bytes()).collect(); // 1, -2
        let brains: Vec<u8> = [0x3f80u16, 0xc000].iter().flat_map(|h| h.to_le_bytes()).collect(); // 1, -2
        let views = [("f16", Dtype::F16, &halves), ("bf16", Dtype::BF16, &brains)];
        let views = views.map(|(name, kind, bytes)| (name, TensorView::new(kind, vec![2], bytes).unwrap()));
        files::write(&path, &safetensors::serialize(views, &None).unwrap()).unwrap();
        assert!(matches!(digest_of_file(&path, "b").unwrap_err(), WeightsError::Type { .. }));
        let read = read(&path, |_| true).unwrap();
        assert!(read["f16"].values == [1.0, -2.0] && read["bf16"].values == [1.0, -2.0]);
    }

    #[test]
    fn a_torn_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        files::write(&path, b"torn").unwrap();
        assert!(read(&path, |_| true).unwrap_err().to_string().contains("w.safetensors"));
    }
}
