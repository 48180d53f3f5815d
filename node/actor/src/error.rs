//! What may go wrong with mail. Each variant says what happened to the message and whether to send it again.

use quorate_vocab::Pid;
use thiserror::Error;

/// A message was not sent. It was dropped; nobody has seen it, unless the variant says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The process has ended, or never lived. It stays so: do not send again.
    #[error("no such process")]
    NoProc,
    /// Its mailbox is full. Send again when it has caught up.
    #[error("the mailbox is full")]
    Full,
    /// The carrier did not take the letter; why says whether to send it again.
    #[error(transparent)]
    NotSent(NotSent),
    /// The process speaks another protocol than the address says. Do not send again.
    #[error("the process speaks another protocol")]
    Protocol,
    /// The message is longer than letters may be. Do not send it again.
    #[error("the message is longer than {bytes_max} bytes")]
    TooLong {
        /// The most that a message's body may weigh here.
        bytes_max: usize,
    },
    /// The message refused to be encoded. Do not send it again.
    #[error("the message cannot be encoded")]
    Unencodable,
    /// The message asks for an answer from another node, and too many calls of this node wait for such
    /// answers already. Send again later.
    #[error("too many calls are waiting")]
    Busy,
}

/// A call ended without an answer that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The process was not alive, or ended before it received the request, and has not seen it. Calling that
    /// process again is of no use.
    #[error("the process is not alive")]
    NoProc,
    /// The process ended with the request in its hands. It may have acted. Calling that process again is of
    /// no use.
    #[error("the process ended before it answered; it may have acted")]
    Died,
    /// The process dropped the request without an answer. It may have acted.
    #[error("the process gave no answer")]
    NoReply,
    /// No answer came in time. It is unknown whether the request arrived; the answer falls away if it
    /// comes. Call again only if a repetition is harmless.
    #[error("no answer came in time")]
    Timeout,
    /// The link to the process's node broke while the call waited, or this node closes. It is unknown whether
    /// the request arrived. Call again only if a repetition is harmless.
    #[error("the link broke; the request may have been delivered")]
    MaybeDelivered,
    /// The mailbox of the process, or of one that it handed the request on to, was full. That process has not
    /// seen the request; call again when it has caught up.
    #[error("the mailbox is full")]
    Full,
    /// The carrier did not take the letter, so the process has not seen the request; why says whether to call
    /// again.
    #[error(transparent)]
    NotSent(NotSent),
    /// The process, or one that it handed the request on to, speaks another protocol or another version of
    /// it, and has not seen the request. Do not call again.
    #[error("the process speaks another protocol")]
    Protocol,
    /// The request is longer than letters may be. It was not sent.
    #[error("the request is longer than {bytes_max} bytes")]
    TooLong {
        /// The most that a message's body may weigh here.
        bytes_max: usize,
    },
    /// The request refused to be encoded. It was not sent.
    #[error("the request cannot be encoded")]
    Unencodable,
    /// The process answered, but its answer cannot travel or cannot be read as the expected type. It has
    /// acted.
    #[error("the answer cannot be read")]
    Answer,
    /// Too many calls of this node wait already. The request was not sent; call again later.
    #[error("too many calls are waiting")]
    Busy,
}

impl From<SendError> for CallError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NoProc => Self::NoProc,
            SendError::Full => Self::Full,
            SendError::NotSent(why) => Self::NotSent(why),
            SendError::Protocol => Self::Protocol,
            SendError::TooLong { bytes_max } => Self::TooLong { bytes_max },
            SendError::Unencodable => Self::Unencodable,
            SendError::Busy => Self::Busy,
        }
    }
}

/// A letter was refused. It is counted and dropped, no process has seen it, and who waits for an answer to it
/// has been told where the letter could be read that far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LetterError {
    /// It is longer than letters may be.
    #[error("the letter is longer than letters may be")]
    TooLong,
    /// It is of a format that this node does not know.
    #[error("the letter has the unknown format {0}")]
    Format(u8),
    /// Its layout is broken.
    #[error("the letter is malformed")]
    Malformed,
    /// It is addressed to another node.
    #[error("the letter is for another node")]
    NotMine,
    /// Its process has ended or lived in an earlier life of this node.
    #[error("the letter is for a process that does not live")]
    NoProc,
    /// Its process speaks another protocol, or another version of it.
    #[error("the letter is in another protocol than its process speaks")]
    Protocol,
    /// Its body is not a message of its protocol.
    #[error("the letter's body is not a message of its protocol")]
    Body,
    /// Its process has no room for it, or too many signals of its node are under way.
    #[error("the letter found a full mailbox")]
    Full,
    /// It speaks for a process that is not of the node which sent it.
    #[error("the letter speaks for another node's process")]
    Forged,
    /// Its node has tied itself to as many processes here as it may. It has been told.
    #[error("the letter asks for one tie too many")]
    Ties,
}

/// The carrier did not take a letter. No byte of it has left this node, and none will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotSent {
    /// There is no way to the node now. Send again when it can be reached.
    #[error("not sent: the node cannot be reached")]
    Unreachable,
    /// So much waits for the node already that there is no room for more. Send again later, or send less.
    #[error("not sent: too much waits for the node already")]
    Full,
    /// The rules of the cluster do not let this node speak to that one. Do not send again while they stand.
    #[error("not sent: the rules forbid it")]
    Denied,
    /// The letter is longer than the way takes. Do not send it again.
    #[error("not sent: the letter is longer than {bytes_max} bytes")]
    TooLong {
        /// The most that a letter may weigh there.
        bytes_max: usize,
    },
}

impl From<NotSent> for SendError {
    fn from(why: NotSent) -> Self {
        Self::NotSent(why)
    }
}

/// A local name was not given. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Another process holds it, or this one does. It is free when that one has ended or gives it up.
    #[error("the name is held by {0}")]
    Taken(Pid),
    /// The process has ended, or is another node's.
    #[error("no such process")]
    NoProc,
}
