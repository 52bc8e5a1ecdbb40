//! What can go wrong on the host. Each message names the cause and, where there is one, the way out.

use std::path::PathBuf;

/// What the functions of this crate answer.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bundle could not be written.
    #[error("cannot pack the bundle: {0}")]
    Pack(String),
    /// A CPU driver could not be turned into an arm64 `Image`.
    #[error("cannot make an arm64 Image: {0}")]
    Image(String),
    /// A core's first domain could not be laid out.
    #[error("cannot lay out a core's first domain: {0}")]
    First(String),
    /// A fleet could not be run, or did not do what was waited for.
    #[error("{0}")]
    Run(String),
    /// A file could not be read or written.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

impl Error {
    /// For `map_err` after a file operation.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Self::File { path, cause }
    }
}
