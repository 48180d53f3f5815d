//! Why a connection ended: what is counted, logged, and told to the other side.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why a connection ended, before it became a link or after.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name = $code,)*
        }

        impl Reason {
            /// Every reason, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name it is counted under.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The number that stands for it on the wire.
            pub fn code(self) -> u8 {
                self as u8
            }

            /// Reads a code back; `None` when a newer version gave a reason that this one does not know.
            pub fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

// The codes travel in refusals: a number that was used once keeps its meaning.
reasons! {
    /// The first bytes are not those of this protocol.
    NotOurs = 1, "not_ours";
    /// A frame promised more bytes than it may have.
    TooLong = 2, "too_long";
    /// A frame or a hello does not read as what it claims to be.
    Malformed = 3, "malformed";
    /// A frame's kind is not known.
    UnknownKind = 4, "unknown_kind";
    /// A frame that only a proven peer may send came before the proof.
    Unauthenticated = 5, "unauthenticated";
    /// A frame of the handshake came when that frame is not due.
    Unexpected = 6, "unexpected";
    /// No version is spoken by both sides.
    NoCommonVersion = 7, "no_common_version";
    /// The peer is of another cluster.
    OtherCluster = 8, "other_cluster";
    /// The peer shows this node's own id.
    OwnId = 9, "own_id";
    /// Another node answered at the address than the one that was dialled.
    WrongNode = 10, "wrong_node";
    /// The proof is wrong: another cookie, or an altered, reflected or replayed handshake.
    BadProof = 11, "bad_proof";
    /// A later life of that node is known.
    OldBoot = 12, "old_boot";
    /// The road has a link already, and that one stays.
    Duplicate = 13, "duplicate";
    /// The other side refused; the log says what it said.
    Refused = 14, "refused";
    /// The handshake took too long.
    Late = 15, "late";
    /// Too many handshakes were under way, and this was the oldest.
    Crowded = 16, "crowded";
    /// No more peers can be remembered.
    TooManyPeers = 17, "too_many_peers";
    /// The address could not be connected to.
    Unreachable = 18, "unreachable";
    /// It was only asked who is there, and that was answered.
    Greeted = 19, "greeted";
    /// The other side closed the connection, or it broke.
    Gone = 20, "gone";
    /// Nothing was heard for longer than the limit.
    Silent = 21, "silent";
    /// Nothing could be written for longer than the limit.
    WriteStalled = 22, "write_stalled";
    /// A newer link of the same road took its place.
    Replaced = 23, "replaced";
    /// A later life of the peer has come.
    Superseded = 24, "superseded";
    /// This node was told to forget the peer.
    Forgotten = 25, "forgotten";
    /// This node's mesh closes.
    Closing = 26, "closing";
    /// What stands behind [`Inbound`](crate::Inbound) panicked.
    Inside = 27, "inside";
    /// The peer sent more than it was granted.
    OverCredit = 28, "over_credit";
    /// Both sides agreed that the link is not needed; nothing was lost.
    Unneeded = 29, "unneeded";
    /// The topology's rules do not allow a link.
    Denied = 30, "denied";
    /// This node was told to close the road.
    Disconnected = 31, "disconnected";
    /// One side speaks TLS and the other does not, or it is garbage that is neither.
    HalfSecured = 40, "half_secured";
    /// The certificate is not one of this mesh: another CA, none at all, for no node, or withdrawn.
    Untrusted = 41, "untrusted";
    /// The certificate has ended, or has not begun yet, by this side's clock.
    Expired = 42, "expired";
    /// The certificate is for another node than the one that speaks.
    WrongName = 43, "wrong_name";
    /// One source opened connections too fast, or had too many in their handshake.
    CrowdedSource = 44, "crowded_source";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back_and_no_two_reasons_share_a_name() {
        let mut names = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
            assert!(names.insert(reason.as_str()));
        }
        assert_eq!(Reason::from_code(0), None, "0 on the wire means welcome");
        assert_eq!(Reason::from_code(255), None);
    }
}
