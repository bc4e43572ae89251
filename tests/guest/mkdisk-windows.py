#!/usr/bin/env python3
"""mkdisk-windows.py RAW RELEASE: a disk that libguestfs and virt-v2v take for a Windows guest.

The disk holds an NTFS with the registry hives and the few files that both read, and nothing that
would run: no test boots it. It is 512 MiB and sparse, and made in a second.

  --arch x86|amd64       width of cmd.exe [default: amd64]
  --firmware bios|uefi   MBR with a boot sector, or GPT with an EFI system partition [default: bios]
  --current N            the control set that is in use, of three [default: 1]
  --service NAME[=START] a driver in that control set, with its file [default start: 0]
  --without-file NAME    the driver NAME has no file
  --tools                VMware Tools are installed
  --hibernated           Windows was hibernated, as fast startup does at each shutdown
  --dirty-hive           the registry has changes that only its log holds
  --bitlocker            the partition of Windows is encrypted
"""
import argparse, os, shutil, struct, subprocess, sys, tempfile

SECTOR = 512
SIZE = 512 << 20
START, ESP_START, ESP_SECTORS = 2048, 2048, 131072
# Name, version, build and kind of installation as the registry of each release has them. From
# Windows 10 on the version stays 6.3 and the major version stands in a value of its own; Windows 11
# calls itself 10.
RELEASES = {
    "w7": ("Windows 7 Professional", "6.1", 7601, "Client"),
    "2k8r2": ("Windows Server 2008 R2 Standard", "6.1", 7601, "Server"),
    "w8.1": ("Windows 8.1 Pro", "6.3", 9600, "Client"),
    "2k12r2": ("Windows Server 2012 R2 Standard", "6.3", 9600, "Server"),
    "w10": ("Windows 10 Pro", "10.0", 19045, "Client"),
    "w11": ("Windows 10 Pro", "10.0", 22631, "Client"),
    "2k16": ("Windows Server 2016 Standard", "10.0", 14393, "Server"),
    "2k19": ("Windows Server 2019 Standard", "10.0", 17763, "Server"),
    "2k22": ("Windows Server 2022 Standard", "10.0", 20348, "Server"),
    "2k25": ("Windows Server 2025 Standard", "10.0", 26100, "Server"),
}
# Any program in a boot sector; nobody runs it.
BOOT_CODE = bytes.fromhex("33c08ed0bc007c8ec08ed8be007cbf0006b90002fcf3a4") + b"\x90" * 64


def run(*words, **more):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, **more)


def empty_hive(path):
    """A registry hive with its root alone (format of regf 1.3), which hivexregedit(1) fills."""
    name = b"ROOT"
    key = struct.pack("<2sHQIIIIIIIIIIIIIIIHH", b"nk", 0x2C, 0, 0, 0xFFFFFFFF, 0, 0, 0xFFFFFFFF,
                      0xFFFFFFFF, 0, 0xFFFFFFFF, 0x78, 0xFFFFFFFF, 0, 0, 0, 0, 0, len(name), 0) + name
    used = -(-(4 + len(key)) // 8) * 8
    # A security descriptor that refers to itself, which hivex does not look into.
    descriptor = struct.pack("<2sHIIII", b"sk", 0, 0x20 + used, 0x20 + used, 1, 20) + bytes(20)
    second = -(-(4 + len(descriptor)) // 8) * 8
    key = key.replace(struct.pack("<I", 0x78), struct.pack("<I", 0x20 + used), 1)
    cells = struct.pack("<i", -used) + key.ljust(used - 4, b"\0")
    cells += struct.pack("<i", -second) + descriptor.ljust(second - 4, b"\0")
    rest = 4096 - 32 - len(cells)
    cells += struct.pack("<i", rest) + bytes(rest - 4)
    block = struct.pack("<4sIIIIQI", b"hbin", 0, 4096, 0, 0, 0, 0) + cells
    head = struct.pack("<4sIIQIIIIIII", b"regf", 1, 1, 0, 1, 3, 0, 1, 0x20, 4096, 1).ljust(508, b"\0")
    total = 0
    for (word,) in struct.iter_unpack("<I", head):
        total ^= word
    with open(path, "wb") as file:
        file.write((head + struct.pack("<I", total)).ljust(4096, b"\0") + block)


def string(text, kind):
    """A string in the notation of .reg files, by its type: 1 plain, 2 with variables."""
    return "hex(%d):%s" % (kind, text.encode("utf-16-le").hex(",") + ",00,00")


def hive(path, keys):
    """Writes a hive with these keys: name of the key to its values, each in .reg notation."""
    empty_hive(path)
    lines = ["Windows Registry Editor Version 5.00", ""]
    for key, values in keys.items():
        names, above = key.split("\\"), "\\"
        # Keys on the way must be named, too.
        for name in names[:-1]:
            above += name
            lines += ["[%s]" % above, ""]
            above += "\\"
        lines.append("[\\%s]" % key)
        lines += ['"%s"=%s' % pair for pair in values.items()] + [""]
    with tempfile.NamedTemporaryFile("w", suffix=".reg") as reg:
        reg.write("\n".join(lines) + "\n")
        reg.flush()
        run("hivexregedit", "--merge", path, reg.name)


def program(path, arch):
    """The head of a Windows program, by which file(1) tells the width."""
    machine, magic, size = (0x8664, 0x20B, 240) if arch == "amd64" else (0x14C, 0x10B, 224)
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x80)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", machine, 1, 0, 0, 0, size, 0x22)
    optional = struct.pack("<H", magic).ljust(68, b"\0") + struct.pack("<H", 3)
    with open(path, "wb") as file:
        file.write(head.ljust(0x80, b"\0") + coff + optional.ljust(size, b"\0") + bytes(1024))


def system(args):
    current = "ControlSet%03d" % args.current
    keys = {"Select": {"Current": "dword:%08x" % args.current, "Default": "dword:%08x" % args.current,
                       "LastKnownGood": "dword:00000003", "Failed": "dword:00000000"}}
    for number in (1, 2, 3):
        of = "ControlSet%03d" % number
        keys[of + "\\Control\\ComputerName\\ComputerName"] = {"ComputerName": string("WIN", 1)}
        keys[of + "\\Services\\Tcpip\\Parameters"] = {"Hostname": string("win", 1)}
    keys[current + "\\Control\\CrashControl"] = {"AutoReboot": "dword:00000001"}
    for name, start in args.services:
        keys["%s\\Services\\%s" % (current, name)] = {
            "Type": "dword:00000001", "Start": "dword:%08x" % start, "ErrorControl": "dword:00000001",
            "ImagePath": string("System32\\drivers\\%s.sys" % name, 2)}
    # Windows 8 and later find their drivers in a database, older ones below each control set.
    if RELEASES[args.release][1] not in ("6.1",):
        keys["DriverDatabase\\DriverPackages"] = {}
        keys["DriverDatabase\\DeviceIds\\PCI"] = {}
        keys["DriverDatabase\\DriverInfFiles"] = {}
    return keys


def software(args):
    product, version, build, kind = RELEASES[args.release]
    major, minor = version.split(".")
    current = {"ProductName": string(product, 1), "CurrentBuild": string(str(build), 1),
               "CurrentBuildNumber": string(str(build), 1), "InstallationType": string(kind, 1),
               "CurrentVersion": string("6.3" if major == "10" else version, 1),
               "SystemRoot": string("C:\\Windows", 1)}
    if major == "10":
        current["CurrentMajorVersionNumber"] = "dword:%08x" % int(major)
        current["CurrentMinorVersionNumber"] = "dword:%08x" % int(minor)
    keys = {"Microsoft\\Windows NT\\CurrentVersion": current,
            "Microsoft\\Windows\\CurrentVersion": {"DevicePath": string("%SystemRoot%\\inf", 2)},
            "Microsoft\\Windows\\CurrentVersion\\Uninstall": {}}
    if args.tools:
        keys["Microsoft\\Windows\\CurrentVersion\\Uninstall\\VMware"] = {
            "DisplayName": string("VMware Tools", 1),
            "UninstallString": string("MsiExec.exe /I{FE2F6A2C-196E-4210-9C04-2B1BC21F07EF}", 1)}
    return keys


def fill(tree, args):
    """The files of a Windows, below the folder `tree`."""
    config = os.path.join(tree, "Windows/System32/config")
    os.makedirs(config)
    for folder in ("System32/drivers", "inf", "Drivers"):
        os.makedirs(os.path.join(tree, "Windows", folder), exist_ok=True)
    for folder in ("Program Files", "Users", "ProgramData"):
        os.makedirs(os.path.join(tree, folder))
    for name in ("cmd.exe", "ntoskrnl.exe"):
        program(os.path.join(tree, "Windows/System32", name), args.arch)
    hive(os.path.join(config, "SYSTEM"), system(args))
    hive(os.path.join(config, "SOFTWARE"), software(args))
    if args.dirty_hive:
        with open(os.path.join(config, "SYSTEM"), "r+b") as file:
            # The first sequence number is written before a change, the second after it.
            file.seek(8)
            (second,) = struct.unpack("<I", file.read(4))
            file.seek(4)
            file.write(struct.pack("<I", second + 1))
            file.seek(0)
            words = struct.unpack("<127I", file.read(508))
            total = 0
            for word in words:
                total ^= word
            file.write(struct.pack("<I", total))
        with open(os.path.join(config, "SYSTEM.LOG1"), "wb") as log:
            log.write(b"HvLE" + bytes(8188))
    for name, _ in args.services:
        if name not in args.without_file:
            program(os.path.join(tree, "Windows/System32/drivers", name + ".sys"), args.arch)
    if args.hibernated:
        with open(os.path.join(tree, "hiberfil.sys"), "wb") as file:
            file.write(b"hibr" + bytes(8188))


def ntfs(path, args):
    """A file system with a Windows, in a file of its own."""
    run("mkntfs", "-F", "-Q", "-q", "-p", str(START), path, stderr=subprocess.DEVNULL)
    tree = tempfile.mkdtemp()
    run("ntfs-3g", path, tree)
    try:
        fill(tree, args)
    finally:
        run("umount", tree)
        os.rmdir(tree)
    if args.bitlocker:
        with open(path, "r+b") as file:
            file.seek(3)
            file.write(b"-FVE-FS-")


def esp(path, arch):
    """An EFI system partition as Windows makes it: nothing in \\EFI\\BOOT."""
    run("mformat", "-i", path, "-F", "-v", "ESP", "::")
    with tempfile.TemporaryDirectory() as work:
        boot, bcd = os.path.join(work, "bootmgfw.efi"), os.path.join(work, "BCD")
        program(boot, arch)
        hive(bcd, {"Objects": {}})
        run("mmd", "-i", path, "::/EFI", "::/EFI/Microsoft", "::/EFI/Microsoft/Boot")
        run("mcopy", "-i", path, boot, bcd, "::/EFI/Microsoft/Boot/")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("raw")
    parser.add_argument("release", choices=RELEASES)
    parser.add_argument("--arch", choices=("x86", "amd64"), default="amd64")
    parser.add_argument("--firmware", choices=("bios", "uefi"), default="bios")
    parser.add_argument("--current", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--service", action="append", default=[])
    parser.add_argument("--without-file", action="append", default=[])
    for flag in ("--tools", "--hibernated", "--dirty-hive", "--bitlocker"):
        parser.add_argument(flag, action="store_true")
    args = parser.parse_args()
    pairs = [service.partition("=") for service in args.service]
    args.services = [(name, int(start or 0)) for name, _, start in pairs]
    work = tempfile.mkdtemp()
    try:
        make(args, work)
    finally:
        shutil.rmtree(work)


def place(part, raw, start):
    run("dd", "if=" + part, "of=" + raw, "bs=1M", "seek=%d" % (start * SECTOR >> 20), "conv=notrunc,sparse",
        stderr=subprocess.DEVNULL)


def make(args, work):
    with open(args.raw, "wb") as raw:
        raw.truncate(SIZE)
    part = os.path.join(work, "windows")
    # The copy of a GPT takes the end of the disk.
    start = START if args.firmware == "bios" else ESP_START + ESP_SECTORS
    with open(part, "wb") as file:
        file.truncate(SIZE - start * SECTOR - (1 << 20))
    ntfs(part, args)
    sectors = os.path.getsize(part) // SECTOR
    if args.firmware == "bios":
        table = "label: dos\nstart=%d, size=%d, type=7, bootable\n" % (start, sectors)
    else:
        table = ("label: gpt\nstart=%d, size=%d, type=uefi\nstart=%d, size=%d, "
                 "type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n" % (ESP_START, ESP_SECTORS, start, sectors))
    run("sfdisk", "--quiet", args.raw, input=table.encode())
    place(part, args.raw, start)
    if args.firmware == "bios":
        with open(args.raw, "r+b") as raw:
            raw.write(BOOT_CODE)
    else:
        loader = os.path.join(work, "esp")
        with open(loader, "wb") as file:
            file.truncate(ESP_SECTORS * SECTOR)
        esp(loader, args.arch)
        place(loader, args.raw, ESP_START)


if __name__ == "__main__":
    sys.exit(main())
