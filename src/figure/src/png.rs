//! A figure as PNG, for slides and web pages. The same figure and fonts give the same bytes: text is set in the fonts
//! that are handed in, never in those of the system.

use std::sync::Arc;

use resvg::{tiny_skia, usvg};

use super::Figure;

/// Pixels for each tenth of a point: 300 to the inch at the size of the paper.
const SCALE: f32 = 300.0 / 720.0;

/// Why there is no PNG.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// The font of the figures is not among those handed in.
    #[error("the figures' font, {0}, is missing\nhint: `make setup` installs it into .tools/fonts")]
    NoFont(&'static str),
    /// The drawing could not be read back.
    #[error("could not read the drawing: {0}")]
    Svg(#[from] usvg::Error),
    /// The drawing is empty or too large.
    #[error("could not draw a picture of {width} x {height} pixels")]
    Size {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// The picture could not be packed.
    #[error("could not encode the picture: {0}")]
    Pack(String),
}

/// Draws a figure on white, 300 pixels to the inch at the width of a column. `fonts` are the contents of font files.
pub fn png(figure: &Figure, fonts: Vec<Vec<u8>>) -> Result<Vec<u8>, PngError> {
    let mut database = usvg::fontdb::Database::new();
    fonts.into_iter().for_each(|font| database.load_font_data(font));
    let family = super::canvas::FAMILY;
    let query = usvg::fontdb::Query { families: &[usvg::fontdb::Family::Name(family)], ..Default::default() };
    if database.query(&query).is_none() {
        return Err(PngError::NoFont(family));
    }
    let options = usvg::Options { fontdb: Arc::new(database), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(&figure.svg, &options)?;
    let size = tree.size();
    let (width, height) = ((size.width() * SCALE).ceil() as u32, (size.height() * SCALE).ceil() as u32);
    let mut pixels = tiny_skia::Pixmap::new(width, height).ok_or(PngError::Size { width, height })?;
    pixels.fill(tiny_skia::Color::WHITE);
    resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|e| PngError::Pack(e.to_string()))
}
