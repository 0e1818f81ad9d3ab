//! Packs a linked kernel: the segments that a loader needs, side by side.
//!
//! The linker puts each segment at a multiple of 2 MiB in the file, too: a quarter of the file is holes, which
//! every copy of the launcher would carry. Sections and symbols go as well; `sections` beside the kernel lists
//! them. The INT3 between functions, some 2.5 MiB of it between two sections of text, stays: it can be executed.
//!
//! System V ABI, chapters 4 and 5 (Object Files, Program Loading).

use std::mem::size_of;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use object::elf::{FileHeader64, PT_LOAD, PT_NOTE, ProgramHeader64, SymbolSection};
use object::pod::bytes_of;
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{LittleEndian as LE, U16, U64};

type Header = FileHeader64<LE>;
type Segment = ProgramHeader64<LE>;

const PAGE: usize = 0x1000;

/// Gives the packed file of a linked one.
///
/// # Errors
/// Where it is no such file.
pub fn pack(linked: &[u8]) -> Result<Vec<u8>> {
    let header = Header::parse(linked)?;
    let mut table = Vec::new();
    let mut bytes = Vec::new();
    let all = header.program_headers(LE, linked)?;
    for segment in all.iter().filter(|segment| segment.p_type(LE) == PT_LOAD) {
        let data = segment.data(LE, linked).ok().context("a segment outside its file")?;
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        table.push(moved(*segment, (PAGE + bytes.len()) as u64));
        bytes.extend_from_slice(data);
    }
    for note in all.iter().filter(|segment| segment.p_type(LE) == PT_NOTE) {
        let address = note.p_vaddr(LE);
        let around = table.iter().find(|it| addresses(it).contains(&address));
        let around = around.context("a note is in no segment")?;
        let offset = around.p_offset(LE) + (address - around.p_vaddr(LE));
        table.push(Segment { p_offset: U64::new(LE, offset), ..*note });
    }

    let mut packed = bytes_of(&packed_header(header, table.len())?).to_vec();
    packed.extend(table.iter().flat_map(bytes_of));
    ensure!(packed.len() <= PAGE, "{} segments are too many", table.len());
    packed.resize(PAGE, 0);
    packed.extend(bytes);
    Ok(packed)
}

fn addresses(segment: &Segment) -> Range<u64> {
    segment.p_vaddr(LE)..segment.p_vaddr(LE).saturating_add(segment.p_filesz(LE))
}

fn moved(segment: Segment, offset: u64) -> Segment {
    Segment { p_offset: U64::new(LE, offset), p_align: U64::new(LE, PAGE as u64), ..segment }
}

fn packed_header(header: &Header, segments: usize) -> Result<Header> {
    Ok(Header {
        e_phoff: U64::new(LE, size_of::<Header>() as u64),
        e_phnum: U16::new(LE, u16::try_from(segments)?),
        e_shoff: U64::new(LE, 0),
        e_shnum: U16::new(LE, 0),
        e_shentsize: U16::new(LE, 0),
        e_shstrndx: U16::new(LE, SymbolSection(0)),
        ..*header
    })
}
