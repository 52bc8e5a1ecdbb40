//! Capabilities and arguments that must be refused, each with the error that says why.

use crate::{Case, SURVIVED};
use alloc::vec::Vec;
use core::fmt::Debug;
use skerry_abi::cap::{CNODE_BYTES, CNODE_SLOTS, DISPATCHER_BYTES};
use skerry_abi::domain::slot;
use skerry_abi::op::halves;
use skerry_abi::{CPtr, CapType, Error, Op, PAGE_SIZE, Rights};
use skerry_hal::MapFlags;
use skerry_hal::addr::{KERNEL, USER_END};
use skerry_user::cap::{self, CNode, Configure, Dispatcher, Frame, Make, ROOT, SELF, VNode};
use skerry_user::sys::invoke;
use skerry_user::vspace::{R, RW};
use skerry_user::{Domain, println};

/// See [`Case`].
pub const CASES: &[Case] = &[
    Case { name: "map-objects", ends: None, run: |d| judge(map_objects, d) },
    Case { name: "map-garbage", ends: None, run: |d| judge(map_garbage, d) },
    Case { name: "grow-rights", ends: None, run: |d| judge(grow_rights, d) },
    Case { name: "retype-twice", ends: None, run: |d| judge(retype_twice, d) },
    Case { name: "retype-garbage", ends: None, run: |d| judge(retype_garbage, d) },
    Case { name: "forge-slots", ends: None, run: |d| judge(forge_slots, d) },
    Case { name: "dispatchers", ends: None, run: |d| judge(dispatchers, d) },
    Case { name: "authority", ends: None, run: |d| judge(authority, d) },
];

/// What was tried, and what came of it.
#[derive(Default)]
struct Trial {
    tried: u32,
    wrong: u32,
}

impl Trial {
    /// It must answer this error.
    fn refuse<T: Debug, E: Into<Error>>(&mut self, what: &str, error: Error, answer: Result<T, E>) {
        let answer = answer.map_err(Into::into);
        self.tried += 1;
        if !matches!(&answer, Err(found) if *found == error) {
            self.wrong += 1;
            println!("{what}: {answer:?}, not {error:?}");
        }
    }

    /// It must be allowed.
    fn allow<T: Debug>(&mut self, what: &str, answer: Result<T, Error>) {
        self.tried += 1;
        if let Err(error) = answer {
            self.wrong += 1;
            println!("{what}: refused: {error}");
        }
    }
}

fn judge(trial: fn(&mut Domain, &mut Trial) -> Result<(), Error>, domain: &mut Domain) -> u8 {
    let mut tally = Trial::default();
    let ended = trial(domain, &mut tally);
    if let Err(error) = ended {
        println!("cannot go on: {error}");
    }
    println!("{} tried, {} answered wrongly", tally.tried, tally.wrong);
    if ended.is_ok() && tally.wrong == 0 && tally.tried > 0 { 0 } else { SURVIVED }
}

/// What is no memory for users cannot be mapped, and no table where it does not belong.
fn map_objects(domain: &mut Domain, t: &mut Trial) -> Result<(), Error> {
    let leaf = VNode(domain.mem.vnode(0)?.cap);
    let upper = VNode(domain.mem.vnode(1)?.cap);
    let cnode = domain.mem.cnode()?.cap;
    let dispatcher = domain.mem.dispatcher()?.cap;
    let ram = domain.mem.ram(PAGE_SIZE, PAGE_SIZE, None)?.cap;
    let endpoint = domain.mem.endpoint(SELF, 1 << 20)?.0;
    for (what, cap) in [
        ("a CNode", cnode),
        ("the own root CNode", slot::ROOT),
        ("a dispatcher", dispatcher),
        ("the own dispatcher", slot::DISPATCHER),
        ("RAM", ram),
        ("an endpoint", endpoint),
        ("the CPU driver", slot::KERNEL),
    ] {
        t.refuse(what, Error::WrongType, leaf.map(0, 1, cap, RW, 0));
        t.refuse(what, Error::WrongType, upper.map(0, 1, cap, RW, 0));
    }
    t.refuse("a table as memory", Error::BadArgument, leaf.map(0, 1, upper.0, RW, 0));
    t.refuse("a leaf table as memory", Error::BadArgument, leaf.map(1, 1, leaf.0, RW, 0));
    t.refuse("the own root table as memory", Error::BadArgument, leaf.map(0, 1, slot::VSPACE, RW, 0));
    t.refuse("a table in itself", Error::BadArgument, upper.map(0, 1, upper.0, RW, 0));
    t.refuse("a leaf in the root", Error::BadArgument, VNode(slot::VSPACE).map(100, 1, leaf.0, RW, 0));
    let third = domain.mem.vnode(2)?.cap;
    for entry in [256, 257, 511, 512, u32::MAX] {
        let answer = VNode(slot::VSPACE).map(entry, 1, third, RW, 0);
        t.refuse("a table in the CPU driver's half", Error::BadArgument, answer);
    }
    t.refuse("the CPU driver's half away", Error::BadArgument, VNode(slot::VSPACE).unmap(511, 1, 0));
    t.refuse("all away", Error::BadArgument, VNode(slot::VSPACE).unmap(0, 512, 0));
    Ok(())
}

fn map_garbage(domain: &mut Domain, t: &mut Trial) -> Result<(), Error> {
    use Error::{BadArgument, EmptySlot, Mapped, NotMapped, WriteExecute};
    let leaf = VNode(domain.mem.vnode(0)?.cap);
    let frame = domain.mem.frame(PAGE_SIZE)?.cap;
    for (entry, count) in [(0, 0), (0, 2), (511, 2), (512, 1), (u32::MAX, 1), (u32::MAX, u32::MAX), (0, 513)]
    {
        t.refuse("entries", BadArgument, leaf.map(entry, count, frame, RW, 0));
        t.refuse(
            "entries away",
            if (entry, count) == (0, 2) { NotMapped } else { BadArgument },
            leaf.unmap(entry, count, 0),
        );
    }
    for offset in [1, 8, PAGE_SIZE, 2 * PAGE_SIZE, !0, !0 << 12, 1 << 63] {
        t.refuse("offset", BadArgument, leaf.map(0, 1, frame, RW, offset));
    }
    for bits in [0x100, 0x20, 0x80, 1 << 32, !0] {
        let words = [halves(0, 1), frame.0.into(), bits, 0, 0];
        t.refuse("flags", BadArgument, invoke(leaf.0, Op::Map, words));
    }
    t.refuse("writable code", WriteExecute, leaf.map(0, 1, frame, MapFlags::all() & !MapFlags::DEVICE, 0));
    t.refuse("nothing", EmptySlot, leaf.map(0, 1, CPtr(250), RW, 0));
    t.allow("a page", leaf.map(3, 1, frame, R, 0));
    t.refuse("the same slot again", Mapped, leaf.map(4, 1, frame, R, 0));
    let copy = domain.mem.copy(frame, Rights::all())?;
    t.refuse("over it", Mapped, leaf.map(3, 1, copy, R, 0));
    t.refuse("write and execute", WriteExecute, leaf.protect(3, 1, RW | MapFlags::EXECUTE));
    t.refuse("what is not mapped", NotMapped, leaf.protect(5, 1, R));
    t.refuse("too many", BadArgument, leaf.protect(0, 513, R));
    t.allow("write", leaf.protect(3, 1, RW));
    t.allow("away", leaf.unmap(3, 1, 0));
    t.refuse("away again", NotMapped, leaf.unmap(3, 1, 0));
    Ok(())
}

/// No right ever grows.
fn grow_rights(domain: &mut Domain, t: &mut Trial) -> Result<(), Error> {
    use Error::NoRight;
    let leaf = VNode(domain.mem.vnode(0)?.cap);
    let frame = domain.mem.frame(PAGE_SIZE)?.cap;
    let read = domain.mem.copy(frame, Rights::READ | Rights::GRANT)?;
    t.refuse("write through a read-only copy", NoRight, leaf.map(0, 1, read, RW, 0));
    t.refuse("execute through it", NoRight, leaf.map(0, 1, read, R | MapFlags::EXECUTE, 0));
    let again = domain.mem.copy(read, Rights::all())?;
    t.refuse("write through its copy", NoRight, leaf.map(0, 1, again, RW, 0));
    t.allow("read through it", leaf.map(0, 1, read, R, 0));
    t.refuse("have what it maps writable", NoRight, leaf.protect(0, 1, RW));
    let stuck = domain.mem.copy(frame, Rights::READ)?;
    t.refuse("copy without GRANT", NoRight, domain.mem.copy(stuck, Rights::READ));
    let blind = domain.mem.copy(frame, Rights::empty())?;
    t.refuse("map without any", NoRight, leaf.map(1, 1, blind, R, 0));

    let table = domain.mem.copy(leaf.0, Rights::READ)?;
    t.refuse("map in a table to look at", NoRight, VNode(table).map(1, 1, frame, R, 0));
    t.refuse("unmap in it", NoRight, VNode(table).unmap(0, 1, 0));
    let root = CNode(domain.mem.copy(slot::ROOT, Rights::READ)?);
    let free = domain.mem.slot()?;
    t.refuse("fill a space to look at", NoRight, root.copy_in(frame, free, Rights::all()));
    t.refuse("empty it", NoRight, root.delete(frame));
    t.refuse("attach to it", NoRight, root.attach(root, 9));
    let bell = domain.mem.endpoint(SELF, 1 << 20)?.0;
    let mute = cap::Endpoint(domain.mem.copy(bell, Rights::GRANT)?);
    t.refuse("signal without SIGNAL", NoRight, mute.signal());
    let watched = Dispatcher(domain.mem.copy(slot::DISPATCHER, Rights::READ)?);
    t.refuse("stop what is there to look at", NoRight, watched.stop());
    t.refuse("an endpoint of it", NoRight, watched.endpoint(1 << 20, free));
    let ram = domain.mem.ram(4 * PAGE_SIZE, PAGE_SIZE, None)?.cap;
    let held = domain.mem.copy(ram, Rights::READ | Rights::WRITE)?;
    t.refuse("retype without GRANT", NoRight, retype(held, CapType::Frame, 0, 0, PAGE_SIZE, 1, free));
    Ok(())
}

fn retype(
    source: CPtr,
    ty: CapType,
    level: u8,
    offset: u64,
    len: u64,
    count: u32,
    to: CPtr,
) -> Result<(), Error> {
    cap::retype(source, &Make { ty, level, rights: Rights::all(), offset, len, count }, to)
}

/// One region cannot be two things.
fn retype_twice(domain: &mut Domain, t: &mut Trial) -> Result<(), Error> {
    let ram = domain.mem.ram(16 * PAGE_SIZE, PAGE_SIZE, None)?.cap;
    let (first, second) = (domain.mem.slot()?, domain.mem.slot()?);
    let kinds = [
        (CapType::Frame, PAGE_SIZE),
        (CapType::VNode, PAGE_SIZE),
        (CapType::CNode, CNODE_BYTES),
        (CapType::Dispatcher, DISPATCHER_BYTES),
        (CapType::Ram, 2 * PAGE_SIZE),
    ];
    for (one, one_len) in kinds {
        t.allow("the first use", retype(ram, one, 0, 4 * PAGE_SIZE, one_len, 1, first));
        for (other, len) in kinds {
            for offset in [4 * PAGE_SIZE, 4 * PAGE_SIZE + one_len - PAGE_SIZE, 5 * PAGE_SIZE - len] {
                let what = alloc::format!("{other:?} over {one:?}");
                t.refuse(&what, Error::Overlap, retype(ram, other, 0, offset, len, 1, second));
            }
        }
        t.refuse("the slot again", Error::SlotInUse, retype(ram, one, 0, 8 * PAGE_SIZE, one_len, 1, first));
        t.refuse(
            "a copy in disguise",
            Error::BadArgument,
            retype(ram, CapType::Ram, 0, 0, 16 * PAGE_SIZE, 1, second),
        );
        for (other, len) in kinds {
            let sub = one == CapType::Ram && len <= PAGE_SIZE;
            if !sub && one != CapType::Ram {
                t.refuse("what is no RAM", Error::BadRetype, retype(first, other, 0, 0, len, 1, second));
            }
        }
        t.allow("given back", ROOT.delete(first));
    }
    Ok(())
}

fn retype_garbage(domain: &mut Domain, t: &mut Trial) -> Result<(), Error> {
    use Error::{BadArgument, BadRetype, EmptySlot, WrongType};
    let ram = domain.mem.ram(16 * PAGE_SIZE, PAGE_SIZE, None)?.cap;
    let to = domain.mem.slot()?;
    for len in [0, 1, PAGE_SIZE - 1, PAGE_SIZE + 8, 17 * PAGE_SIZE, !0, !0 << 12, 1 << 63] {
        t.refuse("length", BadArgument, retype(ram, CapType::Frame, 0, 0, len, 1, to));
    }
    for offset in [1, 8, 16 * PAGE_SIZE, !0, !0 << 12, 1 << 63] {
        t.refuse("offset", BadArgument, retype(ram, CapType::Frame, 0, offset, PAGE_SIZE, 1, to));
    }
    for count in [0, 5, 257, u32::MAX] {
        t.refuse("count", BadArgument, retype(ram, CapType::Frame, 0, 0, PAGE_SIZE, count, to));
    }
    for len in [PAGE_SIZE, CNODE_BYTES + PAGE_SIZE, 2 * CNODE_BYTES] {
        t.refuse("a CNode of another size", BadArgument, retype(ram, CapType::CNode, 0, 0, len, 1, to));
    }
    for level in [4, 5, 255] {
        t.refuse("level", BadArgument, retype(ram, CapType::VNode, level, 0, PAGE_SIZE, 1, to));
    }
    t.refuse("a frame with a level", BadArgument, retype(ram, CapType::Frame, 1, 0, PAGE_SIZE, 1, to));
    for ty in [
        CapType::DeviceFrame,
        CapType::WindowFrame,
        CapType::Endpoint,
        CapType::Irq,
        CapType::IoPort,
        CapType::Core,
        CapType::Kernel,
    ] {
        t.refuse("a type RAM does not become", BadRetype, retype(ram, ty, 0, 0, PAGE_SIZE, 1, to));
    }
    for raw in [0, 13, 77, 255] {
        let words = [halves(raw | 0xff_0000, 1), 0, PAGE_SIZE, halves(0, to.0), 0];
        t.refuse("no type", BadArgument, invoke(ram, Op::Retype, words));
    }
    let last = CPtr::new(0, CNODE_SLOTS - 1);
    t.refuse("past the CNode's end", BadArgument, retype(ram, CapType::Frame, 0, 0, PAGE_SIZE, 2, last));
    t.refuse("to nowhere", EmptySlot, retype(ram, CapType::Frame, 0, 0, PAGE_SIZE, 1, CPtr::NULL));
    t.refuse(
        "to a CNode that is none",
        EmptySlot,
        retype(ram, CapType::Frame, 0, 0, PAGE_SIZE, 1, CPtr::new(77, 3)),
    );
    let words = [halves(CapType::Frame as u32 | 0xff_0000, 1), 0, PAGE_SIZE, halves(ram.0, to.0), 0];
    t.refuse("to a root that is RAM", WrongType, invoke(ram, Op::Retype, words));
    Ok(())
}

/// Names of nothing, of what was there, of what is there now.
fn forge_slots(domain: &mut Domain, t: &mut Trial) -> Result<(), Error> {
    use Error::{BadArgument, EmptySlot, NoSuchOp, SlotInUse, WrongType};
    let free = domain.mem.slot()?;
    let nowhere =
        [free, CPtr::new(1, 1), CPtr::new(77, 3), CPtr(CNODE_SLOTS * CNODE_SLOTS), CPtr(1 << 31), CPtr(!0)];
    for at in nowhere {
        for op in [Op::Nop, Op::Identify, Op::Retype, Op::Map, Op::Start, Op::Signal, Op::PowerOff] {
            t.refuse("an empty slot", EmptySlot, invoke(at, op, [!0; 5]));
        }
    }
    t.refuse("null", EmptySlot, invoke(CPtr::NULL, Op::Identify, [0; 5]));
    let frame = domain.mem.frame(PAGE_SIZE)?.cap;
    for op in [4, 9, 99, 255, 1 << 16, !0u32] {
        let (code, _) = skerry_arch::user::syscall([halves(frame.0, op), !0, !0, !0, !0, !0]);
        t.refuse("no operation", NoSuchOp, Err::<(), _>(Error::from_code(code)));
    }
    for op in [
        Op::Copy,
        Op::Map,
        Op::Configure,
        Op::Wait,
        Op::Stop,
        Op::Signal,
        Op::BindIrq,
        Op::PortIn,
        Op::StartCore,
        Op::PowerOff,
    ] {
        t.refuse("an operation of another type", WrongType, invoke(frame, op, [0; 5]));
    }
    // Deleted, then reused.
    let copy = domain.mem.copy(frame, Rights::all())?;
    t.refuse("to a slot in use", SlotInUse, ROOT.copy_in(frame, copy, Rights::all()));
    t.allow("deleted", ROOT.delete(copy));
    t.refuse("what was deleted", EmptySlot, invoke(copy, Op::Nop, [0; 5]));
    t.refuse("deleted again", EmptySlot, ROOT.delete(copy));
    t.refuse("a copy of it", EmptySlot, ROOT.copy_in(copy, free, Rights::all()));
    t.allow("something else there", SELF.endpoint(1 << 20, copy));
    let leaf = VNode(domain.mem.vnode(0)?.cap);
    t.refuse("the frame that was there", WrongType, leaf.map(0, 1, copy, RW, 0));
    // Roots that are none.
    let words = |root: CPtr| [halves(frame.0, free.0), halves(0xff, root.0), 0, 0, 0];
    t.refuse("from a root that is a frame", WrongType, invoke(slot::ROOT, Op::Copy, words(frame)));
    t.refuse("from a root that is not there", EmptySlot, invoke(slot::ROOT, Op::Copy, words(free)));
    t.refuse("a frame as CNode", BadArgument, ROOT.attach(CNode(frame), 5));
    t.refuse("past the root's end", BadArgument, ROOT.attach(ROOT, CNODE_SLOTS));
    t.refuse("over a CNode", SlotInUse, ROOT.attach(ROOT, 0));
    Ok(())
}

fn dispatchers(domain: &mut Domain, t: &mut Trial) -> Result<(), Error> {
    use Error::{BadArgument, BadState, EmptySlot, WrongType};
    let free = domain.mem.slot()?;
    for bits in [0, 1, 0xff, 0x180] {
        t.refuse("event bits of the CPU driver", BadArgument, SELF.endpoint(bits, free));
    }
    let page = Frame(domain.mem.frame(PAGE_SIZE)?.cap);
    let good = Configure {
        root: ROOT,
        vspace: VNode(slot::VSPACE),
        page,
        death: None,
        entry: 0x40_0000,
        stack: 0x40_0000,
        arg: 0,
    };
    t.refuse("configured twice", BadState, SELF.configure(&good));
    t.refuse("started twice", BadState, SELF.start());
    t.refuse("resumed without a thread", BadState, invoke(SELF.0, Op::Resume, [0; 5]));
    let other = Dispatcher(domain.mem.dispatcher()?.cap);
    t.refuse("started too early", BadState, other.start());
    t.refuse("waits for another", BadState, other.wait(0, 1));
    t.refuse("yields for another", BadState, other.give_way());
    t.refuse("resumes another", BadState, invoke(other.0, Op::Resume, [0; 5]));
    for bad in [KERNEL, USER_END, 1 << 63, !0] {
        t.refuse("entry", BadArgument, other.configure(&Configure { entry: bad, ..good }));
        t.refuse("stack", BadArgument, other.configure(&Configure { stack: bad, ..good }));
    }
    let leaf = VNode(domain.mem.vnode(0)?.cap);
    t.refuse("a leaf as space", BadArgument, other.configure(&Configure { vspace: leaf, ..good }));
    t.refuse("a frame as root", WrongType, other.configure(&Configure { root: CNode(page.0), ..good }));
    t.refuse("a table as page", WrongType, other.configure(&Configure { page: Frame(leaf.0), ..good }));
    t.refuse("nothing as page", EmptySlot, other.configure(&Configure { page: Frame(free), ..good }));
    let death = Some(cap::Endpoint(page.0));
    t.refuse("a frame as endpoint", WrongType, other.configure(&Configure { death, ..good }));
    t.refuse("still not started", BadState, other.start());
    Ok(())
}

/// What only the monitor, or a driver, may do.
fn authority(domain: &mut Domain, t: &mut Trial) -> Result<(), Error> {
    let free = domain.mem.slot()?;
    let ram = domain.mem.ram(PAGE_SIZE, PAGE_SIZE, None)?.cap;
    let adopt = |base| [halves(CapType::Frame as u32 | 0xff00, 1), base, PAGE_SIZE, halves(0, free.0), 0];
    let table = halves(CapType::VNode as u32 | 0xff_0000, 1);
    let agreed = [table, 0, PAGE_SIZE, halves(0, free.0), ram.0.into()];
    let calls: Vec<(&str, Op, [u64; 5])> = [
        ("adopts memory", Op::Adopt, adopt(0x20_0000)),
        ("disowns", Op::Disown, [ram.0.into(), 1, 0, 0, 0]),
        ("locks memory", Op::Mark, [halves(CapType::Frame as u32, 1), 0x20_0000, PAGE_SIZE, 0, 0]),
        (
            "says that its memory is shared",
            Op::Mark,
            [halves(CapType::Ram as u32, 3), 0x20_0000, PAGE_SIZE, 0, 0],
        ),
        ("makes a table as if agreed", Op::RetypeAgreed, agreed),
        ("revokes as if agreed", Op::RevokeAgreed, [CapType::Ram as u64, 0x20_0000, PAGE_SIZE, 0, 0]),
        ("turns the island off", Op::PowerOff, [0; 5]),
    ]
    .into();
    for (what, op, words) in calls {
        t.refuse(what, Error::NoRight, invoke(slot::KERNEL, op, words));
    }
    t.refuse("makes a table of its authority", Error::WrongType, invoke(slot::KERNEL, Op::Retype, agreed));
    for len in [1, 33, 1 << 32, !0] {
        let words = [len, 0, 0, 0, 0];
        t.refuse("writes to the console", Error::NoRight, invoke(slot::KERNEL, Op::ConsoleWrite, words));
    }
    for at in [slot::CORES, slot::IRQS, slot::PORTS] {
        t.refuse("a driver's capability", Error::EmptySlot, invoke(at, Op::Nop, [0; 5]));
    }
    Ok(())
}
