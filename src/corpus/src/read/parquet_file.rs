//! The texts of one column of a Parquet file, page by page, so that memory does not grow with the file.
//!
//! The `parquet` crate reads the layout. It believes the sizes that a file states, unpacks pages without a limit, and
//! some of its checks are assertions, so a damaged or hostile file could take all memory or end the program. That is
//! why the footer and the place of each column are checked first, why pages are unpacked here and not there, and why
//! a panic inside of it is caught and told as damage.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescPtr;

use crate::unpack::Packing;

/// A larger footer is refused: in memory it takes many times its size. Those of text files take some kilobytes for
/// each row group.
const LARGEST_FOOTER_BYTES: u64 = 1 << 24;

/// A page that unpacks to more is refused. Writers aim at 1 MiB.
const LARGEST_PAGE_BYTES: u64 = 1 << 28;

/// Values read at a time; they share the memory of their page.
const BATCH_ROWS: usize = 256;

/// An opened file and the column to read.
pub(crate) struct ParquetTexts {
    file: Arc<File>,
    metadata: ParquetMetaData,
    column: usize,
}

impl ParquetTexts {
    /// Finds the column of this name, in nested ones with dots; the problem lists the columns there are.
    pub(super) fn open(mut file: File, name: &str) -> std::result::Result<Self, String> {
        let footer_bytes = footer_bytes(&mut file).map_err(|e| format!("its end cannot be read ({e})"))?;
        let footer_bytes = footer_bytes.ok_or("it is not a Parquet file, or its end is missing")?;
        if footer_bytes > LARGEST_FOOTER_BYTES {
            return Err(format!("its footer takes {footer_bytes} bytes; at most {LARGEST_FOOTER_BYTES} are read"));
        }
        let metadata = guarded(|| ParquetMetaDataReader::new().parse_and_finish(&file))?;
        let columns = metadata.file_metadata().schema_descr().columns();
        let listed = || {
            let names: Vec<String> = columns.iter().take(50).map(|c| format!("`{}`", c.path().string())).collect();
            format!("; its columns are {}", names.join(", "))
        };
        let column = columns.iter().position(|column| column.path().string() == name);
        let column = column.ok_or_else(|| format!("it has no column `{name}`{}", listed()))?;
        if !is_text(&columns[column]) {
            return Err(format!("its column `{name}` does not hold strings{}", listed()));
        }
        Ok(ParquetTexts { file: Arc::new(file), metadata, column })
    }

    /// The bytes of each text in order, with the number of its row from 1. Nulls are left out.
    pub(super) fn each<E>(
        &self,
        damaged: impl Fn(u64, String) -> E,
        mut take: impl FnMut(u64, &[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let descriptor = self.metadata.file_metadata().schema_descr().column(self.column);
        let (mut levels, mut values) = (Vec::new(), Vec::<ByteArray>::new());
        let mut row = 0;
        for group in self.metadata.row_groups() {
            let before = row;
            let promised = u64::try_from(group.num_rows()).map_err(|_| damaged(row, "negative rows".to_owned()))?;
            let reader = group.columns().get(self.column).ok_or("a row group lacks the column".to_owned());
            let reader = reader.and_then(|chunk| self.column_reader(&descriptor, chunk, promised));
            let mut reader = reader.map_err(|problem| damaged(row, problem))?;
            loop {
                levels.clear();
                values.clear();
                let read = guarded(|| reader.read_records(BATCH_ROWS, Some(&mut levels), None, &mut values));
                let (rows, _, _) = read.map_err(|problem| damaged(row + 1, problem))?;
                if rows == 0 {
                    break;
                }
                let mut texts = values.iter();
                for at in 0..rows {
                    row += 1;
                    if descriptor.max_def_level() > 0 && levels.get(at) != Some(&descriptor.max_def_level()) {
                        continue;
                    }
                    let text = texts.next().ok_or_else(|| damaged(row, "its text is missing".to_owned()))?;
                    take(row, text.data())?;
                }
            }
            if row - before != promised {
                let problem = format!("its row group ends after {} of {promised} rows", row - before);
                return Err(damaged(row, problem));
            }
        }
        Ok(())
    }

    fn column_reader(
        &self,
        descriptor: &ColumnDescPtr,
        chunk: &ColumnChunkMetaData,
        rows: u64,
    ) -> std::result::Result<ColumnReaderImpl<ByteArrayType>, String> {
        let file_bytes = self.file.metadata().map_err(|e| e.to_string())?.len();
        guarded(|| {
            let (start, length) = chunk.byte_range();
            if start.checked_add(length).is_none_or(|end| end > file_bytes) {
                return Err(ParquetError::General("a column lies outside of the file".to_owned()));
            }
            // Told that nothing is packed, the crate hands the pages over as they lie there.
            let as_it_lies = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
            let pages = SerializedPageReader::new(self.file.clone(), &as_it_lies, rows as usize, None)?;
            let pages = UnpackedPages { pages, compression: chunk.compression() };
            Ok(get_typed_column_reader(get_column_reader(descriptor.clone(), Box::new(pages))))
        })
    }
}

/// The size that the last eight bytes state, where they are those of a Parquet file and it fits into the file.
fn footer_bytes(file: &mut File) -> std::io::Result<Option<u64>> {
    let file_bytes = file.seek(SeekFrom::End(0))?;
    // Apache Parquet format, "File format": PAR1, the data, the footer, its size as u32, PAR1.
    if file_bytes < 12 {
        return Ok(None);
    }
    let mut end = [0; 8];
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut end)?;
    let [a, b, c, d, magic @ ..] = end;
    let footer_bytes = u64::from(u32::from_le_bytes([a, b, c, d]));
    Ok((&magic == b"PAR1" && footer_bytes <= file_bytes - 12).then_some(footer_bytes))
}

/// Strings, and bytes without a type of their own, as some writers leave them. Lists of strings are not texts.
fn is_text(column: &ColumnDescPtr) -> bool {
    use ConvertedType as Converted;
    let logical =
        matches!(column.logical_type_ref(), None | Some(LogicalType::String | LogicalType::Enum | LogicalType::Json));
    let converted =
        matches!(column.converted_type(), Converted::NONE | Converted::UTF8 | Converted::ENUM | Converted::JSON);
    column.physical_type() == Type::BYTE_ARRAY && column.max_rep_level() == 0 && logical && converted
}

/// Calls into the `parquet` crate. What it was called on is not used again after a panic.
fn guarded<T>(call: impl FnOnce() -> Result<T>) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("it is damaged: its parts contradict each other".to_owned()),
    }
}

/// The pages of a column, unpacked within [`LARGEST_PAGE_BYTES`].
struct UnpackedPages {
    pages: SerializedPageReader<File>,
    compression: Compression,
}

impl UnpackedPages {
    fn unpack(&self, packed: &[u8]) -> Result<Vec<u8>> {
        let too_large = || ParquetError::General(format!("a page unpacks to more than {LARGEST_PAGE_BYTES} bytes"));
        let packing = match self.compression {
            Compression::UNCOMPRESSED => Packing::None,
            Compression::GZIP(_) => Packing::Gzip,
            Compression::ZSTD(_) => Packing::Zstd,
            Compression::SNAPPY => {
                let external = |e: snap::Error| ParquetError::External(Box::new(e));
                if snap::raw::decompress_len(packed).map_err(external)? as u64 > LARGEST_PAGE_BYTES {
                    return Err(too_large());
                }
                return snap::raw::Decoder::new().decompress_vec(packed).map_err(external);
            }
            other => {
                return Err(ParquetError::General(format!(
                    "its pages are packed with {other:?}; uncompressed, SNAPPY, GZIP and ZSTD are read"
                )));
            }
        };
        let mut content = Vec::new();
        let read = packing.reader(packed).take(LARGEST_PAGE_BYTES + 1).read_to_end(&mut content);
        match read.map_err(|e| ParquetError::External(Box::new(e)))? as u64 {
            bytes if bytes > LARGEST_PAGE_BYTES => Err(too_large()),
            _ => Ok(content),
        }
    }
}

impl PageReader for UnpackedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(mut page) = self.pages.get_next_page()? else {
            return Ok(None);
        };
        if self.compression == Compression::UNCOMPRESSED {
            return Ok(Some(page));
        }
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => *buf = self.unpack(buf)?.into(),
            // The levels come first and are never packed.
            Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, is_compressed: true, .. } => {
                let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
                let (levels, packed) = buf
                    .split_at_checked(levels)
                    .ok_or_else(|| ParquetError::General("a page is shorter than its levels".to_owned()))?;
                let values = if packed.is_empty() { Vec::new() } else { self.unpack(packed)? };
                *buf = [levels, &values].concat().into();
            }
            Page::DataPageV2 { .. } => {}
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }
}

impl Iterator for UnpackedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
