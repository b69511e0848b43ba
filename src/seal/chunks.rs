//! A long sealed stream in chunks, for files that are not the log. A chunk is bound to its file, its number, and whether it is the last.

use std::io::{Error, ErrorKind, Read, Write};

use zeroize::Zeroizing;

use super::derive::{Key, chunk_label};
use super::envelope::{OVERHEAD, open_box, seal_box};
use crate::kernel::{Random, VaultId};

/// Bytes of a chunk in clear; only the last one is shorter.
const CHUNK: usize = 1024 * 1024;

/// Seals what is written to it. Without [`ChunkWriter::finish`] the stream has no end, and no reader takes it.
pub struct ChunkWriter<'a, W: Write> {
    out: W,
    key: &'a Key,
    vault: VaultId,
    file: [u8; 16],
    random: &'a dyn Random,
    number: u64,
    clear: Zeroizing<Vec<u8>>,
}

impl<'a, W: Write> ChunkWriter<'a, W> {
    /// Over an output; `file` is random and stands beside the chunks.
    pub fn new(out: W, key: &'a Key, vault: VaultId, file: [u8; 16], random: &'a dyn Random) -> Self {
        Self { out, key, vault, file, random, number: 0, clear: Zeroizing::new(Vec::with_capacity(CHUNK)) }
    }

    /// Seals the last chunk and gives the output back.
    pub fn finish(mut self) -> std::io::Result<W> {
        self.seal(true)?;
        Ok(self.out)
    }

    fn seal(&mut self, last: bool) -> std::io::Result<()> {
        let label = chunk_label(self.vault, &self.file, self.number, last);
        let sealed = seal_box(self.key, &label, &self.clear, self.random);
        let length = u32::try_from(sealed.len()).map_err(|_| ErrorKind::FileTooLarge)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&sealed)?;
        self.clear.clear();
        self.number += 1;
        Ok(())
    }
}

impl<W: Write> Write for ChunkWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Sealed only when more comes: the last chunk must be known as the last.
        if self.clear.len() == CHUNK {
            self.seal(false)?;
        }
        let fits = bytes.get(..bytes.len().min(CHUNK - self.clear.len())).unwrap_or_default();
        self.clear.extend_from_slice(fits);
        Ok(fits.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Opens what a [`ChunkWriter`] sealed. A chunk that does not open is an error, and so is an end before the last one.
pub struct ChunkReader<'a, R: Read> {
    input: R,
    key: &'a Key,
    vault: VaultId,
    file: [u8; 16],
    number: u64,
    last: bool,
    clear: Zeroizing<Vec<u8>>,
    read: usize,
}

impl<'a, R: Read> ChunkReader<'a, R> {
    /// Over an input that stands at its first chunk.
    pub fn new(input: R, key: &'a Key, vault: VaultId, file: [u8; 16]) -> Self {
        Self { input, key, vault, file, number: 0, last: false, clear: Zeroizing::default(), read: 0 }
    }

    /// Whether all was read, to the last chunk's end and the input's.
    pub fn is_at_end(&mut self) -> std::io::Result<bool> {
        if self.read == self.clear.len() && !self.last {
            self.open()?;
        }
        Ok(self.last && self.read == self.clear.len() && self.input.read(&mut [0])? == 0)
    }

    fn open(&mut self) -> std::io::Result<()> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > CHUNK + OVERHEAD {
            return Err(Error::from(ErrorKind::InvalidData));
        }
        let mut sealed = vec![0; length];
        self.input.read_exact(&mut sealed)?;
        let opened = [false, true].into_iter().find_map(|last| {
            let label = chunk_label(self.vault, &self.file, self.number, last);
            open_box(self.key, &label, &sealed).ok().map(|clear| (last, clear))
        });
        let (last, clear) = opened.ok_or(ErrorKind::InvalidData)?;
        (self.last, self.clear, self.read) = (last, clear, 0);
        self.number += 1;
        Ok(())
    }
}

impl<R: Read> Read for ChunkReader<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.read == self.clear.len() {
            if self.last {
                return Ok(0);
            }
            self.open()?;
        }
        let left = self.clear.get(self.read..).unwrap_or_default();
        let count = left.len().min(into.len());
        for (to, from) in into.iter_mut().zip(left) {
            *to = *from;
        }
        self.read += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::OsRandom;

    const VAULT: VaultId = VaultId([1; 16]);

    fn sealed(clear: &[u8]) -> Vec<u8> {
        let key = Key::new([2; 32]);
        let mut writer = ChunkWriter::new(Vec::new(), &key, VAULT, [3; 16], &OsRandom);
        writer.write_all(clear).unwrap();
        writer.finish().unwrap()
    }

    fn opened(sealed: &[u8], vault: VaultId, file: [u8; 16]) -> std::io::Result<Vec<u8>> {
        let key = Key::new([2; 32]);
        let mut reader = ChunkReader::new(sealed, &key, vault, file);
        let mut clear = Vec::new();
        reader.read_to_end(&mut clear)?;
        if reader.is_at_end()? { Ok(clear) } else { Err(ErrorKind::InvalidData.into()) }
    }

    #[test]
    fn streams_of_any_length_come_back() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7] {
            let clear: Vec<u8> = (0..length).map(|place| u8::try_from(place % 251).unwrap()).collect();
            assert!(opened(&sealed(&clear), VAULT, [3; 16]).unwrap() == clear, "{length}");
        }
    }

    #[test]
    fn a_stream_that_is_cut_changed_reordered_or_of_another_place_does_not_open() {
        let whole = sealed(&vec![5; 2 * CHUNK + 7]);
        let chunk = 4 + CHUNK + OVERHEAD;
        let (first, rest) = whole.split_at(chunk);
        let (second, third) = rest.split_at(chunk);
        assert!(opened(&[first, second, third].concat(), VAULT, [3; 16]).is_ok());
        let bad = [
            [first, second].concat(),
            [first, third].concat(),
            [second, first, third].concat(),
            [first, second, third, third].concat(),
            [first, second, third, &[0]].concat(),
            whole[..whole.len() - 1].to_vec(),
            Vec::new(),
        ];
        for bad in bad {
            assert!(opened(&bad, VAULT, [3; 16]).is_err());
        }
        for place in [0, 4, 30, chunk + 100, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            assert!(opened(&flipped, VAULT, [3; 16]).is_err(), "{place}");
        }
        assert!(opened(&whole, VaultId([9; 16]), [3; 16]).is_err());
        assert!(opened(&whole, VAULT, [4; 16]).is_err());
    }
}
