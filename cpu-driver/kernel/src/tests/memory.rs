//! Boot, retype, copy, delete, map.

use super::rig::{CORE, RAM, Rig, file, program, record, try_boot};
use crate::BootError;
use skerry_abi::boot::{CoreBoot, MAX_IMAGE, Program, RegionKind};
use skerry_abi::domain::{IMAGE_VADDR, INFO_VADDR, STACK_TOP, slot};
use skerry_abi::op::halves;
use skerry_abi::{CPtr, CapType, Error, Op, PAGE_SIZE, PhysAddr, PhysRange, Rights};
use skerry_arch_host::Pages;
use skerry_hal::addr::USER_END;
use skerry_hal::{Isa, MapFlags, PageFormat, Pte, UserContext};

const FREE: CPtr = CPtr::new(1, 200);
const RX: u64 = (MapFlags::READ.bits() | MapFlags::EXECUTE.bits()) as u64;
const RW: u64 = (MapFlags::READ.bits() | MapFlags::WRITE.bits()) as u64;

fn walk(rig: &Rig, va: u64) -> Pte {
    let mut table = rig.outside.lock().unwrap().space;
    for level in (0..4).rev() {
        let entry = rig.word(PhysAddr(table.0 + skerry_hal::paging::index(va, level) as u64 * 8));
        match Pages::decode(entry, level) {
            Pte::Table(next) => table = next,
            other => return other,
        }
    }
    Pte::Empty
}

#[test]
fn the_first_domain_is_mapped_with_write_xor_execute() {
    let rig = Rig::boot();
    assert_eq!(rig.context().pc().0, IMAGE_VADDR + 0x1010);
    assert_eq!(rig.context().words[0], INFO_VADDR);
    let flags = |va| match walk(&rig, va) {
        Pte::Page(_, flags) => flags,
        other => panic!("{va:#x}: {other:?}"),
    };
    let user = MapFlags::READ | MapFlags::USER;
    assert_eq!(flags(IMAGE_VADDR + 0x1000), user | MapFlags::EXECUTE);
    assert_eq!(flags(IMAGE_VADDR + 0x2000), user | MapFlags::WRITE);
    assert_eq!(flags(INFO_VADDR), user);
    assert_eq!(flags(STACK_TOP - 1), user | MapFlags::WRITE);
    assert_eq!(walk(&rig, 0), Pte::Empty);
    assert_eq!(walk(&rig, STACK_TOP), Pte::Empty);
}

#[test]
fn a_bad_record_or_file_is_refused_with_its_reason() {
    let good = file(&program());
    let error = |file: &[u8], change: fn(&mut CoreBoot)| {
        let mut r = record(file.len() as u64);
        change(&mut r);
        try_boot(file, &r).map(|_| ()).unwrap_err()
    };
    assert_eq!(error(&good, |r| r.magic = 1), BootError::BadRecord);
    assert_eq!(error(&good, |r| r.version = 9), BootError::BadRecord);
    assert_eq!(error(&good, |r| r.regions[0].range.len = 64 << 10), BootError::NoMemory);
    let twice = |r: &mut CoreBoot| r.regions[1].range.base.0 += 1;
    assert_eq!(error(&good, twice), BootError::BadRecord);
    assert_eq!(error(&good[..40], |_| ()), BootError::BadProgram);
    let refused: [fn(&mut Program); 9] = [
        |p| p.magic += 1,
        |p| p.isa = Isa::X86_64 as u64,
        |p| p.segments[0].start += 8,
        |p| p.segments[0].len = 0x800,
        |p| p.segments[0].len = MAX_IMAGE + PAGE_SIZE,
        |p| p.segments[1].start = 0x1000,
        |p| p.segments[1].bytes = 0x1001,
        |p| p.segments[1].offset = 0x2008,
        |p| p.segments[1].offset = u64::MAX,
    ];
    for change in refused {
        let mut bad = program();
        change(&mut bad);
        assert_eq!(error(&file(&bad), |_| ()), BootError::BadProgram);
    }
    let mut bad = program();
    bad.segments[1].flags = 7;
    assert_eq!(error(&file(&bad), |_| ()), BootError::WriteExecute);
    let mut bad;
    for at in 0..size_of::<Program>() {
        for bit in [0, 6] {
            bad = good.clone();
            bad[at] ^= 1 << bit;
            // Whatever it answers, it answers.
            let _ = try_boot(&bad, &record(bad.len() as u64));
        }
    }
}

#[test]
fn boot_memory_can_never_be_retyped() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    let base = rig.invoke(ram, Op::Identify, &[1]).unwrap();
    let len = rig.invoke(ram, Op::Identify, &[2]).unwrap();
    assert!(base > RAM.base.0 && base + len == RAM.end().0);
    rig.retype(ram, CapType::Frame, 0, 0, PAGE_SIZE, FREE).unwrap();
    assert_eq!(rig.retype(ram, CapType::Frame, 0, 0, PAGE_SIZE, CPtr::new(1, 201)), Err(Error::Overlap));
    assert_eq!(
        rig.retype(ram, CapType::Frame, 0, len, PAGE_SIZE, CPtr::new(1, 201)),
        Err(Error::BadArgument)
    );
}

/// Makes the tables for one address under root entry 1 and answers the leaf.
fn tables(rig: &mut Rig, ram: CPtr) -> CPtr {
    let mut parent = slot::VSPACE;
    for (n, level) in [2u8, 1, 0].into_iter().enumerate() {
        let at = CPtr::new(1, 210 + n as u32);
        rig.retype(ram, CapType::VNode, level, n as u64 * PAGE_SIZE, PAGE_SIZE, at).unwrap();
        let entry = if level == 2 { 1 } else { 0 };
        rig.invoke(parent, Op::Map, &[halves(entry, 1), u64::from(at.0), 0, 0]).unwrap();
        parent = at;
    }
    parent
}

#[test]
fn a_frame_is_mapped_protected_unmapped_and_goes_with_its_capability() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    let leaf = tables(&mut rig, ram);
    let va = 1 << 39;
    rig.retype(ram, CapType::Frame, 0, 0x10000, 4 * PAGE_SIZE, FREE).unwrap();
    let frame = u64::from(FREE.0);
    rig.invoke(leaf, Op::Map, &[halves(0, 4), frame, RW, 0]).unwrap();
    assert!(matches!(walk(&rig, va + 3 * PAGE_SIZE), Pte::Page(..)));
    assert_eq!(rig.invoke(leaf, Op::Map, &[halves(8, 1), frame, RW, 0]), Err(Error::Mapped));
    // What the capability allowed may be taken away and given back.
    for (flags, count) in [(1, Ok(4)), (RW, Ok(4)), (7, Err(Error::WriteExecute)), (RX, Ok(4)), (RW, Ok(4))] {
        assert_eq!(rig.invoke(leaf, Op::Protect, &[halves(0, 4), va, flags]), count, "{flags}");
    }
    rig.invoke(leaf, Op::Unmap, &[halves(0, 1), va]).unwrap();
    assert_eq!(walk(&rig, va), Pte::Empty);
    assert_eq!(rig.invoke(leaf, Op::Unmap, &[halves(0, 1), va]), Err(Error::NotMapped));
    // Three of the four entries still stand, and count.
    assert_eq!(rig.invoke(leaf, Op::Map, &[halves(8, 4), frame, RW, 0]), Err(Error::Mapped));
    rig.invoke(leaf, Op::Unmap, &[halves(0, 4), va]).unwrap();
    // The record of the mapping is stale now, so it may be mapped again; deleting takes that away.
    rig.invoke(leaf, Op::Map, &[halves(8, 4), frame, RW, 0]).unwrap();
    assert!(matches!(walk(&rig, va + 8 * PAGE_SIZE), Pte::Page(..)));
    let before = rig.outside.lock().unwrap().flushes;
    rig.invoke(slot::ROOT, Op::Delete, &[frame]).unwrap();
    assert_eq!(walk(&rig, va + 8 * PAGE_SIZE), Pte::Empty);
    assert!(rig.outside.lock().unwrap().flushes > before, "no stale translation may be left");
}

#[test]
fn mapping_needs_rights_alignment_and_the_right_type() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    let leaf = tables(&mut rig, ram);
    rig.retype(ram, CapType::Frame, 0, 0x10000, 2 * PAGE_SIZE, FREE).unwrap();
    let readable = CPtr::new(1, 201);
    let copy = [halves(FREE.0, readable.0), halves(u32::from(Rights::READ.bits()), 0)];
    rig.invoke(slot::ROOT, Op::Copy, &copy).unwrap();
    let mut map = |target: CPtr, entries, cptr: CPtr, flags, offset| {
        rig.invoke(target, Op::Map, &[entries, u64::from(cptr.0), flags, offset])
    };
    assert_eq!(map(leaf, halves(0, 1), readable, RW, 0), Err(Error::NoRight));
    assert_eq!(map(leaf, halves(0, 1), FREE, 7, 0), Err(Error::WriteExecute));
    assert_eq!(map(leaf, halves(0, 3), FREE, RW, 0), Err(Error::BadArgument));
    assert_eq!(map(leaf, halves(0, 1), FREE, RW, 8), Err(Error::BadArgument));
    assert_eq!(map(leaf, halves(0, 1), FREE, RW, 2 * PAGE_SIZE), Err(Error::BadArgument));
    assert_eq!(map(leaf, halves(512, 1), FREE, RW, 0), Err(Error::BadArgument));
    assert_eq!(map(leaf, halves(u32::MAX, 1), FREE, RW, 0), Err(Error::BadArgument));
    assert_eq!(map(leaf, halves(0, 1), leaf, RW, 0), Err(Error::Mapped));
    assert_eq!(map(leaf, halves(0, 1), slot::ROOT, RW, 0), Err(Error::WrongType));
    assert_eq!(map(slot::VSPACE, halves(300, 1), CPtr::new(1, 210), 0, 0), Err(Error::BadArgument));
    assert_eq!(map(slot::ROOT, halves(0, 1), FREE, RW, 0), Err(Error::WrongType));
    assert_eq!(map(leaf, halves(0, 1), readable, 1, 0), Ok(0));
}

/// What a page may become is what the capability allows that maps it, and goes with that: another for the same memory,
/// with more rights, lends it none.
#[test]
fn what_a_page_may_become_is_decided_when_it_is_mapped() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    let (leaf, va) = (tables(&mut rig, ram), 1 << 39);
    rig.retype(ram, CapType::Frame, 0, 0x10000, PAGE_SIZE, FREE).unwrap();
    let copy = |n: u32, rights: Rights| [halves(FREE.0, CPtr::new(1, n).0), u64::from(rights.bits())];
    for (n, rights) in [(201, Rights::READ), (202, Rights::READ | Rights::EXECUTE)] {
        rig.invoke(slot::ROOT, Op::Copy, &copy(n, rights)).unwrap();
        rig.invoke(leaf, Op::Map, &[halves(n, 1), CPtr::new(1, n).0.into(), 1, 0]).unwrap();
    }
    let mut protect = |entry, flags, shown: CPtr| {
        rig.invoke(leaf, Op::Protect, &[halves(entry, 1), va, flags, shown.0.into()])
    };
    for shown in [FREE, CPtr::NULL] {
        assert_eq!(protect(201, RW, shown), Err(Error::NoRight));
        assert_eq!(protect(201, RX, shown), Err(Error::NoRight));
        assert_eq!(protect(202, RW, shown), Err(Error::NoRight));
    }
    assert_eq!((protect(202, RX, FREE), protect(202, 1, FREE)), (Ok(1), Ok(1)));
    // Neither page can be written, however it was asked for; and with its capability a page goes.
    rig.invoke(slot::ROOT, Op::Delete, &[CPtr::new(1, 202).0.into()]).unwrap();
    let flags = MapFlags::READ | MapFlags::USER;
    assert!(matches!(walk(&rig, va + 201 * PAGE_SIZE), Pte::Page(_, its) if its == flags));
    assert_eq!(walk(&rig, va + 202 * PAGE_SIZE), Pte::Empty);
}

#[test]
fn only_frames_are_mapped_as_memory() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    let leaf = tables(&mut rig, ram);
    let made = [(CapType::Ram, PAGE_SIZE), (CapType::CNode, 4 * PAGE_SIZE), (CapType::Dispatcher, PAGE_SIZE)];
    for (n, (ty, len)) in made.into_iter().enumerate() {
        rig.retype(ram, ty, 0, 0x10000 + n as u64 * 0x10000, len, CPtr::new(1, 230 + n as u32)).unwrap();
    }
    rig.retype(ram, CapType::VNode, 0, 0x50000, PAGE_SIZE, CPtr::new(1, 233)).unwrap();
    rig.invoke(CPtr::new(1, 232), Op::MakeEndpoint, &[1 << 9, halves(0, CPtr::new(1, 234).0)]).unwrap();
    for n in [230, 231, 232, 234, 233] {
        // As a page of a leaf or of the table above it.
        for table in [leaf, CPtr::new(1, 211)] {
            let result = rig.invoke(table, Op::Map, &[halves(7, 1), CPtr::new(1, n).0.into(), RW, 0]);
            let child = n == 233 && table != leaf;
            let expect = if child {
                Ok(0)
            } else if n == 233 {
                Err(Error::BadArgument)
            } else {
                Err(Error::WrongType)
            };
            assert_eq!(result, expect, "{n} in {table:?}");
        }
    }
    for n in [slot::IRQS, slot::CORES, slot::KERNEL, slot::DISPATCHER, slot::ROOT] {
        assert_eq!(rig.invoke(leaf, Op::Map, &[halves(8, 1), n.0.into(), RW, 0]), Err(Error::WrongType));
    }
    assert_eq!(walk(&rig, (1 << 39) + 7 * PAGE_SIZE), Pte::Empty);
}

#[test]
fn user_tables_never_reach_the_kernel_half() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    rig.retype(ram, CapType::VNode, 2, 0, PAGE_SIZE, FREE).unwrap();
    for entry in [256, 300, 511] {
        let result = rig.invoke(slot::VSPACE, Op::Map, &[halves(entry, 1), u64::from(FREE.0), 0, 0]);
        assert_eq!(result, Err(Error::BadArgument), "entry {entry}");
    }
    const { assert!(USER_END < 1 << 47) };
}

#[test]
fn regions_of_every_kind_are_listed() {
    let file = file(&program());
    let mut r = record(file.len() as u64);
    assert!(r.add(RegionKind::Bundle, PhysRange::new(PhysAddr(0x30_0000), 0x2000), 0));
    assert!(r.add(RegionKind::Channel, PhysRange::new(PhysAddr(0x31_0000), 0x1000), 7));
    assert_eq!(r.core, CORE);
    let mut rig = try_boot(&file, &r).unwrap();
    let kinds: Vec<_> = (0..256)
        .filter_map(|n| rig.invoke(CPtr::new(1, n), Op::Identify, &[0]).ok())
        .map(|word| CapType::from_raw(word as u8).unwrap())
        .collect();
    for ty in [CapType::Ram, CapType::DeviceFrame, CapType::Frame, CapType::VNode] {
        assert!(kinds.contains(&ty), "{ty:?}");
    }
    for (cptr, ty) in
        [(slot::CORES, CapType::Core), (slot::IRQS, CapType::Irq), (slot::KERNEL, CapType::Kernel)]
    {
        assert_eq!(rig.invoke(cptr, Op::Identify, &[0]).unwrap() as u8, ty as u8);
    }
}
