//! Why a face does not open.

/// Why a face does not open. The node behind it is untouched, and it may be tried again with other settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaceError {
    /// Beyond loopback anyone could write, so a token is needed there.
    #[error(
        "{listen} is not loopback, and no token is set; anyone who reaches it could write. Set a token, or \
         listen on 127.0.0.1"
    )]
    Open {
        /// Where it was to listen.
        listen: String,
    },
    /// A token that could be guessed.
    #[error("the token has {bytes} bytes; it must have 16 to 1024, and no blanks")]
    Token {
        /// How long it is.
        bytes: usize,
    },
    /// The system refused the address.
    #[error("cannot listen on {listen}: {why}")]
    Listen {
        /// Where it was to listen.
        listen: String,
        /// What the system said.
        why: std::io::Error,
    },
}
