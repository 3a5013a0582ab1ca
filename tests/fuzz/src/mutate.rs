//! How are bytes changed, always in the same way? For a test that has no fuzzer.

/// Pieces of FIX.
pub(crate) const FIX: &[&[u8]] = &[
    b"8=FIX.4.4\x01",
    b"9=5\x01",
    b"9=99999999999999999999\x01",
    b"35=A\x01",
    b"35=0\x01",
    b"49=BROKER_A\x01",
    b"49=VICTIM\x01",
    b"049=VICTIM\x01",
    b"+49=VICTIM\x01",
    b"56=GATEWAY\x01",
    b"95=4\x01",
    b"95=13\x01",
    b"96=a\x01b=c\x01",
    b"354=2\x01355=xy\x01",
    b"554=hunter2\x01",
    b"553=user\x01",
    b"10=000\x01",
    b"=",
    b"\x01",
    b"|",
    b"^A",
    b"\x00",
    b"\xff",
];

/// Words of an image.
pub(crate) const WORDS: &[&[u8]] = &[
    &[0, 0, 0, 0],
    &[1, 0, 0, 0],
    &[2, 0, 0, 0],
    &[16, 0, 0, 0],
    &[31, 0, 0, 0],
    &[32, 0, 0, 0],
    &[0x20, 1, 0, 0],
    &[0, 1, 0, 0],
    &[0x80, 1, 0, 0],
    &[0, 0, 1, 0],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0x80],
    &[0xff, 0xff, 0xff, 0xff],
];

/// Pieces of YAML and of its objects.
pub(crate) const YAML: &[&[u8]] = &[
    b"---\n",
    b"...\n",
    b"- ",
    b": ",
    b"? ",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!str ",
    b"!!binary ",
    b"|\n",
    b">-\n",
    b"\"\\e\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\t",
    b"#",
    b"\xef\xbb\xbf",
    b"\xff",
    b"~",
    b"0x-1",
    b"1e999",
    b"-.inf",
    b"99999999999999999999",
    b"priority: 5\n",
    b"default: true\n",
    b"pattern: \"*\"",
    b"value: A",
    b"redact: true",
    b"log: false",
    b"sourceRanges: [10.0.0.0/8]\n",
];

/// More than a byte or two becomes something else altogether.
const CHANGES_MAX: usize = 4;
/// Longer inputs cost time and show nothing new.
const BYTES_MAX: usize = 4_096;

/// Changes bytes; the same seed changes the same ones.
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// Starts.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// `SplitMix64`: short, and good enough to choose places.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`; 0 if there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    /// Changes `bytes` in a few places; some of the changes take a part of `other`.
    pub fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]]) {
        for _ in 0..=self.below(CHANGES_MAX) {
            self.change_once(bytes, other, words);
        }
        bytes.truncate(BYTES_MAX);
    }

    fn change_once(&mut self, bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]]) {
        let at = self.below(bytes.len());
        let some = self.below(16).min(bytes.len() - at);
        let word = words[self.below(words.len())];
        match self.below(9) {
            0 => bytes[at..at + some.min(1)]
                .iter_mut()
                .for_each(|byte| *byte ^= 1 << (word.len() % 8)),
            1 => {
                let byte = self.next().to_le_bytes()[0];
                bytes[at..at + some.min(1)].fill(byte);
            }
            2 => drop(bytes.drain(at..at + some)),
            3 => {
                let twice = bytes[at..at + some].to_vec();
                bytes.splice(at..at, twice);
            }
            4 | 5 => drop(bytes.splice(at..at, word.iter().copied())),
            6 | 7 => {
                let over = word.len().min(bytes.len() - at);
                bytes.splice(at..at + over, word.iter().copied());
            }
            _ => {
                let from = self.below(other.len());
                let piece = &other[from..(from + self.below(64)).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
}
