//! Which tags are lengths of which data fields?
//!
//! Every field of type `data` or `XMLData` of FIX 4.0 to 4.4, FIX 5.0 with SP1 and SP2 (with its extension packs) and
//! FIXT 1.1, with the field of type `Length` that the specification pairs it with (FIX Repository; FIX 5.0 SP2
//! Volume 6, "Fields"; FIX session layer, "Field types", `Length` and `data`). Source of the list: the FIX
//! Repository's data dictionaries; no pair was added from memory.

use super::Tag;

/// (length field, data field), ascending by the length field.
const PAIRS: [(u32, u32); 83] = [
    (90, 91),       // SecureData
    (93, 89),       // Signature
    (95, 96),       // RawData
    (212, 213),     // XmlData
    (348, 349),     // EncodedIssuer
    (350, 351),     // EncodedSecurityDesc
    (352, 353),     // EncodedListExecInst
    (354, 355),     // EncodedText
    (356, 357),     // EncodedSubject
    (358, 359),     // EncodedHeadline
    (360, 361),     // EncodedAllocText
    (362, 363),     // EncodedUnderlyingIssuer
    (364, 365),     // EncodedUnderlyingSecurityDesc
    (445, 446),     // EncodedListStatusText
    (618, 619),     // EncodedLegIssuer
    (621, 622),     // EncodedLegSecurityDesc
    (1184, 1185),   // SecurityXML
    (1277, 1278),   // DerivativeEncodedIssuer
    (1280, 1281),   // DerivativeEncodedSecurityDesc
    (1282, 1283),   // DerivativeSecurityXML
    (1397, 1398),   // EncodedMktSegmDesc
    (1401, 1402),   // EncryptedPassword
    (1403, 1404),   // EncryptedNewPassword
    (1468, 1469),   // EncodedSecurityListDesc
    (1525, 1527),   // EncodedDocumentationText
    (1578, 1579),   // EncodedEventText
    (1620, 1621),   // InstrumentScopeEncodedSecurityDesc
    (1664, 1665),   // EncodedRejectText
    (1678, 1697),   // EncodedOptionExpirationDesc
    (1733, 1734),   // EncodedFirmAllocText
    (1871, 1872),   // LegSecurityXML
    (1874, 1875),   // UnderlyingSecurityXML
    (2072, 2073),   // EncodedUnderlyingEventText
    (2074, 2075),   // EncodedLegEventText
    (2111, 2112),   // EncodedAttachment
    (2179, 2180),   // EncodedLegOptionExpirationDesc
    (2287, 2288),   // EncodedUnderlyingOptionExpirationDesc
    (2351, 2352),   // EncodedComplianceText
    (2372, 2371),   // EncodedTradeContinuationText
    (2481, 2482),   // EncodedMDStatisticDesc
    (2494, 2493),   // EncodedLegDocumentationText
    (2522, 2521),   // EncodedWarningText
    (2637, 2638),   // EncodedMiscFeeSubTypeDesc
    (2651, 2652),   // EncodedCommissionDesc
    (2665, 2666),   // EncodedAllocCommissionDesc
    (2715, 2716),   // EncodedFinancialInstrumentFullName
    (2718, 2719),   // EncodedLegFinancialInstrumentFullName
    (2721, 2722),   // EncodedUnderlyingFinancialInstrumentFullName
    (2797, 2798),   // EncodedMatchExceptionText
    (2802, 2801),   // EncodedReplaceText
    (2809, 2808),   // EncodedCancelText
    (2815, 2814),   // EncodedPostTradePaymentDesc
    (40004, 40005), // EncodedAdditionalTermBondDesc
    (40008, 40009), // EncodedAdditionalTermBondIssuer
    (40978, 40979), // EncodedLegStreamText
    (40980, 40981), // EncodedLegProvisionText
    (40982, 40983), // EncodedStreamText
    (40984, 40985), // EncodedPaymentText
    (40986, 40987), // EncodedProvisionText
    (40988, 40989), // EncodedUnderlyingStreamText
    (41083, 41084), // EncodedDeliveryStreamCycleDesc
    (41101, 41102), // EncodedMarketDisruptionFallbackUnderlierSecurityDesc
    (41107, 41108), // EncodedExerciseDesc
    (41256, 41257), // EncodedStreamCommodityDesc
    (41320, 41321), // EncodedLegAdditionalTermBondDesc
    (41324, 41325), // EncodedLegAdditionalTermBondIssuer
    (41458, 41459), // EncodedLegDeliveryStreamCycleDesc
    (41476, 41477), // EncodedLegMarketDisruptionFallbackUnderlierSecurityDesc
    (41482, 41483), // EncodedLegExerciseDesc
    (41653, 41654), // EncodedLegStreamCommodityDesc
    (41710, 41711), // EncodedUnderlyingAdditionalTermBondDesc
    (41806, 41807), // EncodedUnderlyingDeliveryStreamCycleDesc
    (41811, 41812), // EncodedUnderlyingExerciseDesc
    (41873, 41874), // EncodedUnderlyingMarketDisruptionFallbackUnderlierSecurityDesc
    (41969, 41970), // EncodedUnderlyingStreamCommodityDesc
    (42025, 42026), // EncodedUnderlyingAdditionalTermBondIssuer
    (42171, 42172), // EncodedUnderlyingProvisionText
    (42451, 42452), // LegPaymentStreamFormulaImage
    (42652, 42653), // PaymentStreamFormulaImage
    (42947, 42948), // UnderlyingPaymentStreamFormulaImage
    (43109, 42684), // PaymentStreamFormula
    (43110, 42486), // LegPaymentStreamFormula
    (43111, 42982), // UnderlyingPaymentStreamFormula
];

/// The data field that `tag` is the length of.
#[must_use]
pub fn data_field_of(tag: Tag) -> Option<Tag> {
    // Nearly every field of a Logon is below the first of them: this spares the search.
    if PAIRS.first().is_some_and(|first| tag.get() < first.0) {
        return None;
    }
    let at = PAIRS.binary_search_by_key(&tag.get(), |pair| pair.0).ok()?;
    Tag::new(PAIRS.get(at)?.1)
}

/// The length field that belongs to the data field `tag`; `None` when `tag` is no data field.
#[must_use]
pub fn length_field_of(tag: Tag) -> Option<Tag> {
    // Below RawData no Logon field but 89 and 91 is one: this spares the walk for nearly every field.
    if tag.get() < 89 {
        return None;
    }
    PAIRS
        .iter()
        .find(|pair| pair.1 == tag.get())
        .and_then(|pair| Tag::new(pair.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_ascend_by_length_and_no_field_is_in_two() {
        assert!(PAIRS.windows(2).all(|w| matches!(w, [a, b] if a.0 < b.0)));
        for (length, data) in PAIRS {
            assert_eq!(PAIRS.iter().filter(|p| p.1 == data).count(), 1);
            assert!(PAIRS.iter().all(|p| p.1 != length), "{length} is both");
        }
    }

    #[test]
    fn signature_is_paired_with_the_field_after_it() {
        assert_eq!(data_field_of(Tag(93)), Some(Tag(89)));
        assert_eq!(length_field_of(Tag(89)), Some(Tag(93)));
        assert_eq!(length_field_of(Tag(58)), None);
    }
}
