//! The tiles of AMX in software, for tests of the kernels that use them on processors without: such a processor stops at an
//! instruction that it does not know, and the handler of that signal does what the instruction would do. Shapes that do not
//! fit, and tiles that were not shaped, end the process, as on a processor with tiles.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, the instructions LDTILECFG, TILELOADD,
//! TILESTORED, TILEZERO, TILERELEASE and TDPBF16PS, and volume 1, chapter 18.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::zeroed;
use std::ptr::null_mut;

const TILES: usize = 8;
const ROWS: usize = 16;
const ROW_BYTES: usize = 64;

/// A tile register: its shape, and rows of numbers of 32 bits.
#[derive(Clone, Copy)]
struct Tile {
    rows: usize,
    row_bytes: usize,
    numbers: [[u32; ROW_BYTES / 4]; ROWS],
}

const NONE: Tile = Tile { rows: 0, row_bytes: 0, numbers: [[0; ROW_BYTES / 4]; ROWS] };

thread_local! {
    // Without a destructor, and so without memory that is taken at the first use: a handler of signals may take none.
    static REGISTERS: UnsafeCell<[Tile; TILES]> = const { UnsafeCell::new([NONE; TILES]) };
}

/// Makes this process do what instructions with tiles would, where the processor does not know them.
pub(super) fn install() {
    // SAFETY: a zeroed sigaction is one without flags and mask, and the handler keeps to what a handler may do.
    let installed = unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = unknown_instruction as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGILL, &action, null_mut())
    };
    assert_eq!(installed, 0, "the handler of unknown instructions is installed");
}

extern "C" fn unknown_instruction(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands a handler with SA_SIGINFO the registers of the thread that it interrupted. The instruction
    // is whole in memory, since the processor read it; no other code uses this thread's tiles meanwhile.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let at = registers[libc::REG_RIP as usize] as *const u8;
        let length = REGISTERS.with(|tiles| execute(at, registers, &mut *tiles.get()));
        match length {
            Some(length) => registers[libc::REG_RIP as usize] += length as i64,
            None => end(),
        }
    }
}

/// Lets the instruction end the process when it is tried again.
fn end() {
    // SAFETY: sets the signal's default action.
    unsafe { libc::signal(libc::SIGILL, libc::SIG_DFL) };
}

/// Does what the instruction says, and returns its length in bytes; `None` if it is none with tiles or may not be executed.
unsafe fn execute(at: *const u8, registers: &[i64], tiles: &mut [Tile; TILES]) -> Option<usize> {
    // SAFETY: the caller's.
    let byte = |offset: usize| unsafe { *at.add(offset) };
    // VEX in three bytes with the map 0F38, W0, L0.
    let (second, third) = (byte(1), byte(2));
    if byte(0) != 0xC4 || second & 0x1F != 2 || third & 0x84 != 0 {
        return None;
    }
    let (opcode, operands) = (byte(3), byte(4));
    let (prefix, mode) = (third & 3, operands >> 6);
    let (reg, rm, vvvv) = (usize::from(operands >> 3 & 7), usize::from(operands & 7), usize::from(!third >> 3 & 0xF));
    match (opcode, prefix, mode) {
        (0x49, 0, 3) => *tiles = [NONE; TILES], // TILERELEASE
        (0x49, 0, _) => {
            // SAFETY: the caller's; the operand is 64 bytes.
            let (from, length) = unsafe { address(at, registers) };
            return unsafe { shaped(from as *const u8) }.map(|shaped| {
                *tiles = shaped;
                length
            }); // LDTILECFG
        }
        (0x49, 3, 3) => clear(&mut tiles[reg])?,         // TILEZERO
        (0x5C, 2, 3) => multiply(tiles, reg, rm, vvvv)?, // TDPBF16PS
        (0x4B, 2 | 3, 0..=2) if rm == 4 => {
            // SAFETY: the caller's; rows lie where the program says.
            let (start, length) = unsafe { address(at, registers) };
            let stride = registers[REGISTER[usize::from(byte(5) >> 3 & 7) | usize::from(second & 0x40 == 0) << 3]];
            let tile = &mut tiles[reg];
            if prefix == 3 {
                clear(tile)?; // TILELOADD
            }
            for row in 0..tile.rows {
                let memory = (start + stride * row as i64) as *mut u8;
                let register = tile.numbers[row].as_mut_ptr().cast::<u8>();
                let (from, into) = if prefix == 3 { (memory, register) } else { (register, memory) };
                // SAFETY: as above.
                unsafe { std::ptr::copy_nonoverlapping(from, into, tile.row_bytes) };
            }
            return (tile.rows > 0).then_some(length);
        }
        _ => return None,
    }
    Some(5)
}

/// The places of rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi and r8 to r15 among the registers of a thread.
const REGISTER: [usize; 16] = [
    libc::REG_RAX as usize,
    libc::REG_RCX as usize,
    libc::REG_RDX as usize,
    libc::REG_RBX as usize,
    libc::REG_RSP as usize,
    libc::REG_RBP as usize,
    libc::REG_RSI as usize,
    libc::REG_RDI as usize,
    libc::REG_R8 as usize,
    libc::REG_R9 as usize,
    libc::REG_R10 as usize,
    libc::REG_R11 as usize,
    libc::REG_R12 as usize,
    libc::REG_R13 as usize,
    libc::REG_R14 as usize,
    libc::REG_R15 as usize,
];

/// Where the operand in memory begins, and how long the instruction is. For rows of a tile the index times its scale is their
/// distance, and no part of the address.
unsafe fn address(at: *const u8, registers: &[i64]) -> (i64, usize) {
    // SAFETY: the caller's.
    let byte = |offset: usize| unsafe { *at.add(offset) };
    // SAFETY: as above.
    let long = |offset: usize| i64::from(unsafe { at.add(offset).cast::<i32>().read_unaligned() });
    let (second, opcode, operands) = (byte(1), byte(3), byte(4));
    let (mode, rm) = (operands >> 6, operands & 7);
    let extended = usize::from(second & 0x20 == 0) << 3;
    if mode == 0 && rm == 5 {
        return (registers[libc::REG_RIP as usize] + 9 + long(5), 9); // relative to the next instruction
    }
    let (mut start, mut length) = (0, 5);
    let mut has_base = true;
    if rm == 4 {
        let sib = byte(5);
        length = 6;
        let (base, index) = (usize::from(sib & 7), usize::from(sib >> 3 & 7) | usize::from(second & 0x40 == 0) << 3);
        has_base = mode != 0 || base != 5;
        if has_base {
            start += registers[REGISTER[base | extended]];
        }
        if opcode != 0x4B && index != 4 {
            start += registers[REGISTER[index]] << (sib >> 6);
        }
    } else {
        start += registers[REGISTER[usize::from(rm) | extended]];
    }
    match mode {
        1 => (start + i64::from(byte(length) as i8), length + 1),
        0 if has_base => (start, length),
        _ => (start + long(length), length + 4),
    }
}

/// Tiles in the shapes that 64 bytes say: palette, first row, bytes in a row of each tile from byte 16 on, rows from byte 48 on.
unsafe fn shaped(from: *const u8) -> Option<[Tile; TILES]> {
    // SAFETY: the caller's.
    let bytes = unsafe { std::slice::from_raw_parts(from, 64) };
    let mut tiles = [NONE; TILES];
    for (number, tile) in tiles.iter_mut().enumerate() {
        tile.row_bytes = usize::from(u16::from_le_bytes([bytes[16 + 2 * number], bytes[17 + 2 * number]]));
        tile.rows = usize::from(bytes[48 + number]);
        if tile.row_bytes > ROW_BYTES || tile.row_bytes % 4 != 0 || tile.rows > ROWS {
            return None;
        }
    }
    (bytes[0] == 1 && bytes[1] == 0).then_some(tiles)
}

fn clear(tile: &mut Tile) -> Option<()> {
    tile.numbers = NONE.numbers;
    (tile.rows > 0).then_some(())
}

/// C += A B: the sums over the first numbers of the pairs, and over the second, then both, then C.
fn multiply(tiles: &mut [Tile; TILES], c: usize, a: usize, b: usize) -> Option<()> {
    if b >= TILES || c == a || c == b || a == b {
        return None;
    }
    let (left, right) = (tiles[a], tiles[b]);
    let sums = &mut tiles[c];
    let fits = left.rows == sums.rows && left.row_bytes / 4 == right.rows && right.row_bytes == sums.row_bytes;
    if !fits || sums.rows == 0 {
        return None;
    }
    let [left_pairs, right_pairs] = [left, right].map(|tile| tile.numbers.map(|row| row.map(pair)));
    for (row, left) in sums.numbers.iter_mut().zip(&left_pairs).take(sums.rows) {
        let mut of_row = [(0.0f32, 0.0f32); ROW_BYTES / 4];
        for (x, right) in left.iter().zip(&right_pairs).take(right.rows) {
            for (sum, y) in of_row.iter_mut().zip(right) {
                // The product of two is exact.
                *sum = (flushed(sum.0 + x.0 * y.0), flushed(sum.1 + x.1 * y.1));
            }
        }
        for (number, sum) in row.iter_mut().zip(of_row).take(sums.row_bytes / 4) {
            *number = flushed(flushed(sum.0 + sum.1) + flushed(f32::from_bits(*number))).to_bits();
        }
    }
    Some(())
}

/// Two bfloat16 numbers of 32 bits.
fn pair(both: u32) -> (f32, f32) {
    (flushed(f32::from_bits(both << 16)), flushed(f32::from_bits(both & 0xFFFF_0000)))
}

/// Numbers too small to be normal count as 0.
fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0.0 } else { x }
}
