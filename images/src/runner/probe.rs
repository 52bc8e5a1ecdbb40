//! Whether KVM works. A device file proves nothing (in containers and nested guests it may be there and fail), so a
//! guest of a few instructions is booted and has to switch itself off.

use super::process::die_with_parent;
use super::qemu::Qemu;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the guest may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What QEMU exits with when the x86 guest writes 1 to the debug-exit port: 1 × 2 + 1.
const X86_EXIT: i32 = 3;

/// Boots the guest; `Err` says why KVM is of no use.
///
/// # Errors
/// No QEMU, or the guest did not run to its end.
pub fn kvm(path: &std::ffi::OsStr) -> Result<(), String> {
    let isa = std::env::consts::ARCH;
    let qemu = Qemu::find(isa, path).map_err(|cause| cause.to_string())?;
    let mut guest = tempfile::NamedTempFile::new().map_err(|cause| cause.to_string())?;
    let (code, expected) = if isa == "x86_64" { (x86_bios(), X86_EXIT) } else { (arm_code(), 0) };
    guest.write_all(&code).map_err(|cause| cause.to_string())?;
    let mut command = Command::new(qemu.program);
    command.args(["-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none", "-no-reboot"]);
    if isa == "x86_64" {
        command
            .args(["-M", "q35", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-bios"])
            .arg(guest.path());
    } else {
        command.args(["-M", "virt", "-kernel"]).arg(guest.path());
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    die_with_parent(&mut command);
    let mut child = command.spawn().map_err(|cause| cause.to_string())?;
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match child.try_wait().map_err(|cause| cause.to_string())? {
            Some(status) if status.code() == Some(expected) => return Ok(()),
            Some(_) => break,
            None if Instant::now() >= deadline => {
                let _ = child.kill();
                break;
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    let output = child.wait_with_output().map_err(|cause| cause.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.lines().next().unwrap_or("the probe guest did not run").to_string())
}

/// 64 KiB that end where an x86 processor starts: `mov al, 1; out 0xf4, al`, then `hlt`.
fn x86_bios() -> Vec<u8> {
    const RESET_VECTOR: usize = 0xfff0;
    let mut bios = vec![0xf4; 0x1_0000];
    bios[RESET_VECTOR..RESET_VECTOR + 4].copy_from_slice(&[0xb0, 0x01, 0xe6, 0xf4]);
    bios
}

/// PSCI `SYSTEM_OFF` (Arm DEN0022, 5.10): `mov w0, #8; movk w0, #0x8400, lsl #16; hvc #0; b .`
fn arm_code() -> Vec<u8> {
    [0x5280_0100_u32, 0x72b0_8000, 0xd400_0002, 0x1400_0000].into_iter().flat_map(u32::to_le_bytes).collect()
}
