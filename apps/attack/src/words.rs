//! Where the garbage comes from: mostly words that nearly make sense, for those get further.

use skerry_abi::op::halves;

/// A stream of invocations, by its seed.
pub struct Source(u64);

/// Operations there are, those that build things more than once.
const OPS: [u32; 56] = [
    0, 1, 2, 2, 2, 2, 2, 3, 10, 10, 10, 10, 11, 11, 12, 13, 14, 20, 20, 20, 20, 21, 21, 22, 22, 30, 30, 31,
    31, 32, 33, 34, 35, 35, 35, 36, 37, 38, 39, 40, 40, 41, 41, 41, 42, 43, 44, 45, 50, 51, 60, 61, 70, 71,
    80, 84,
];

impl Source {
    /// The stream of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    fn random(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random() % bound
    }

    /// A CPtr that often names something.
    fn cptr(&mut self) -> u32 {
        match self.below(16) {
            0..8 => self.below(32) as u32,
            8..11 => 32 + self.below(32) as u32,
            11..14 => 256 + self.below(24) as u32,
            14 => 0,
            _ => self.random() as u32,
        }
    }

    /// A slot that is often free.
    fn free(&mut self) -> u32 {
        let node = self.below(2) as u32 * 256;
        node + 30 + self.below(100) as u32
    }

    fn pages(&mut self, bound: u64) -> u64 {
        self.below(bound) << 12
    }

    fn word(&mut self) -> u64 {
        match self.below(16) {
            0..4 => self.cptr().into(),
            4..8 => halves(self.cptr(), self.cptr()),
            8..10 => self.below(64),
            10..12 => self.pages(64),
            12 => halves(self.below(512) as u32, self.below(9) as u32),
            13 => 1 << self.below(64),
            14 => (1u64 << self.below(64)).wrapping_neg(),
            _ => self.random(),
        }
    }

    /// The next invocation's words.
    pub fn next(&mut self) -> [u64; 6] {
        let op = match self.below(16) {
            0 => self.below(100) as u32,
            1 if self.below(8) == 0 => self.random() as u32,
            n => OPS[(self.random().wrapping_add(n) % OPS.len() as u64) as usize],
        };
        let mut words = [halves(self.cptr(), op), 0, 0, 0, 0, 0];
        for word in &mut words[1..] {
            *word = self.word();
        }
        if self.below(4) != 0 {
            self.likely(op, &mut words);
        }
        words
    }

    /// Words that the operation may well take.
    fn likely(&mut self, op: u32, words: &mut [u64; 6]) {
        let target = |cptr: u32| halves(cptr, op);
        let spaces = [1, 1, 1, 24, 28, 29];
        match op {
            2 => {
                let (ty, level) = (1 + self.below(8) as u32, self.below(5) as u32);
                let rights = if self.below(4) == 0 { self.random() as u32 & 0xff } else { 0xff };
                let level = if ty == 5 { level } else { 0 };
                let len = [1, 1, 2, 4, 4, 8, 16][self.below(7) as usize] << 12;
                words[0] = target([16, 17, 17, self.cptr()][self.below(4) as usize]);
                words[1] = halves(ty | level << 8 | rights << 16, 1 + self.below(5) as u32);
                (words[2], words[3]) = (self.pages(130), len);
                words[4] = halves(0, self.free());
            }
            10 => {
                words[0] = target(spaces[self.below(6) as usize]);
                words[1] = halves(self.cptr(), self.free());
                words[2] = if self.below(2) == 0 { 0xff } else { self.random() & 0xff };
            }
            11 | 12 | 14 => {
                words[0] = target(spaces[self.below(6) as usize]);
                // What it was given should last for a while.
                words[1] = if self.below(16) != 0 { self.free() } else { self.cptr() }.into();
            }
            13 => {
                words[0] = target(spaces[self.below(6) as usize]);
                words[1] = [24, 28, 29, self.cptr()][self.below(4) as usize].into();
                words[2] = self.below(6);
            }
            20..=22 => {
                words[0] = target([2, 18, 19, 20, 20, self.cptr()][self.below(6) as usize]);
                let count = if self.below(4) == 0 { self.below(600) } else { 1 + self.below(4) };
                words[1] = halves(self.below(515) as u32, count as u32);
                words[2] = self.cptr().into();
                (words[3], words[4]) = (self.below(32), self.pages(9));
                if op == 22 {
                    words[4] = if self.below(2) == 0 { 0 } else { self.cptr().into() };
                }
            }
            30 => {
                words[0] = target([21, 26, self.free()][self.below(3) as usize]);
                words[1] = halves([1, 24][self.below(2) as usize], 2);
                words[2] = halves([4, 22, 23][self.below(3) as usize], [0, 25][self.below(2) as usize]);
                (words[3], words[4]) = (self.random() >> 17, self.random() >> 17);
            }
            31..=39 | 42 => words[0] = target([3, 3, 21, 26, self.cptr()][self.below(5) as usize]),
            40 | 41 => {
                words[0] = target([25, self.free(), self.cptr()][self.below(3) as usize]);
                words[5] = [0, self.cptr().into()][self.below(2) as usize];
            }
            _ => {}
        }
        if op == 35 {
            words[1] = if self.below(2) == 0 { self.below(256) << 8 } else { self.word() };
            words[2] = halves(0, self.free());
        }
        if op == 32 {
            // Seldom for good.
            words[2] = 1 + self.below(8) * self.below(2);
        }
    }
}
