//! What are well-known tags called? For people: nothing is decided by a name.
//!
//! Source: FIX Repository, fields of the standard header and trailer and of Logon and Logout, FIX 4.0 to FIXT 1.1.

/// (tag, name), ascending.
const NAMES: [(u32, &str); 71] = [
    (7, "BeginSeqNo"),
    (8, "BeginString"),
    (9, "BodyLength"),
    (10, "CheckSum"),
    (16, "EndSeqNo"),
    (34, "MsgSeqNum"),
    (35, "MsgType"),
    (36, "NewSeqNo"),
    (43, "PossDupFlag"),
    (45, "RefSeqNum"),
    (49, "SenderCompID"),
    (50, "SenderSubID"),
    (52, "SendingTime"),
    (56, "TargetCompID"),
    (57, "TargetSubID"),
    (58, "Text"),
    (89, "Signature"),
    (90, "SecureDataLen"),
    (91, "SecureData"),
    (93, "SignatureLength"),
    (95, "RawDataLength"),
    (96, "RawData"),
    (97, "PossResend"),
    (98, "EncryptMethod"),
    (108, "HeartBtInt"),
    (112, "TestReqID"),
    (115, "OnBehalfOfCompID"),
    (116, "OnBehalfOfSubID"),
    (122, "OrigSendingTime"),
    (123, "GapFillFlag"),
    (128, "DeliverToCompID"),
    (129, "DeliverToSubID"),
    (141, "ResetSeqNumFlag"),
    (142, "SenderLocationID"),
    (143, "TargetLocationID"),
    (144, "OnBehalfOfLocationID"),
    (145, "DeliverToLocationID"),
    (212, "XmlDataLen"),
    (213, "XmlData"),
    (347, "MessageEncoding"),
    (354, "EncodedTextLen"),
    (355, "EncodedText"),
    (369, "LastMsgSeqNumProcessed"),
    (372, "RefMsgType"),
    (383, "MaxMessageSize"),
    (384, "NoMsgTypes"),
    (385, "MsgDirection"),
    (464, "TestMessageIndicator"),
    (553, "Username"),
    (554, "Password"),
    (627, "NoHops"),
    (628, "HopCompID"),
    (629, "HopSendingTime"),
    (630, "HopRefID"),
    (789, "NextExpectedMsgSeqNum"),
    (925, "NewPassword"),
    (1128, "ApplVerID"),
    (1129, "CstmApplVerID"),
    (1130, "RefApplVerID"),
    (1131, "RefCstmApplVerID"),
    (1137, "DefaultApplVerID"),
    (1156, "ApplExtID"),
    (1400, "EncryptedPasswordMethod"),
    (1401, "EncryptedPasswordLen"),
    (1402, "EncryptedPassword"),
    (1403, "EncryptedNewPasswordLen"),
    (1404, "EncryptedNewPassword"),
    (1406, "RefApplExtID"),
    (1407, "DefaultApplExtID"),
    (1408, "DefaultCstmApplVerID"),
    (1409, "SessionStatus"),
];

/// The tag's name, or nothing.
pub(crate) fn of(tag: u32) -> &'static str {
    NAMES
        .binary_search_by_key(&tag, |entry| entry.0)
        .ok()
        .and_then(|at| NAMES.get(at))
        .map_or("", |entry| entry.1)
}

/// The tag of a name.
pub(crate) fn tag_of(name: &str) -> Option<u32> {
    let found = NAMES.iter().find(|entry| entry.1 == name);
    found.map(|entry| entry.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ascend_by_tag() {
        assert!(
            NAMES
                .windows(2)
                .all(|pair| matches!(pair, [a, b] if a.0 < b.0))
        );
        assert_eq!(
            (of(49), of(1409), of(6000)),
            ("SenderCompID", "SessionStatus", "")
        );
        assert_eq!((tag_of("SenderCompID"), tag_of("Desk")), (Some(49), None));
    }
}
