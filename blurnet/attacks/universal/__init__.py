"""One sticker or patch for many images, as a value and in files."""
