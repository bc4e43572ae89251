//! The distributions' programs that build an initramfs: which one the guest has, and which files
//! make it include drivers, now and at every later update of a kernel.

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;

use super::kernels::Kernel;

/// A program that builds an initramfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    /// Debian, Ubuntu.
    InitramfsTools,
    /// Red Hat, SUSE, and Debian and Ubuntu where an administrator chose it.
    Dracut,
    /// Arch.
    Mkinitcpio,
    /// Alpine.
    Mkinitfs,
    /// SUSE before 12, Red Hat before 6.
    Mkinitrd,
}

/// Programs of dracut.
const DRACUT: &[&str] = &["/usr/bin/dracut", "/usr/sbin/dracut", "/sbin/dracut"];

/// The tools, each with its programs and, where there is one, a file that it needs. On Debian the
/// tool counts that new kernels call: initramfs-tools-core stays beside dracut, and dracut's
/// package also provides `update-initramfs` under that name.
const TOOLS: [(Tool, &[&str], Option<&str>); 7] = [
    (Tool::Dracut, DRACUT, Some("/etc/kernel/postinst.d/dracut")),
    (Tool::Dracut, DRACUT, Some("/usr/share/kernel/postinst.d/dracut")),
    (
        Tool::InitramfsTools,
        &["/usr/sbin/mkinitramfs", "/usr/bin/mkinitramfs"],
        Some("/etc/initramfs-tools/initramfs.conf"),
    ),
    (Tool::Dracut, DRACUT, None),
    (Tool::Mkinitcpio, &["/usr/bin/mkinitcpio"], Some("/etc/mkinitcpio.conf")),
    (Tool::Mkinitfs, &["/sbin/mkinitfs", "/usr/sbin/mkinitfs"], None),
    (Tool::Mkinitrd, &["/sbin/mkinitrd"], None),
];

/// Path of the command line of a unified kernel image, for the tool that reads it from a file.
pub(super) const COMMAND_LINE: &str = "/tmp/hyperexport-command-line";

/// What the tool is to build.
#[derive(Debug, Clone, Copy)]
pub(super) struct BuildOrder<'a> {
    pub(super) kernel: &'a Kernel,
    /// The initramfs, or the unified kernel image.
    pub(super) file: &'a str,
    /// Modules to include. All of them exist, since some tools fail when one is missing.
    pub(super) modules: &'a [&'static str],
    /// The command line of a unified kernel image.
    pub(super) command_line: &'a str,
}

/// The tool that is installed in the guest.
pub(super) async fn installed(guestfs: &mut Guestfs) -> Result<Option<Tool>, Error> {
    for (tool, programs, needs) in TOOLS {
        for program in programs {
            let there = guestfs.is_file(program).await?;
            let whole = match needs {
                Some(file) => there && guestfs.is_file(file).await?,
                None => there,
            };
            if whole {
                return Ok(Some(tool));
            }
        }
    }
    Ok(None)
}

/// Configures the tool; returns the command that builds.
///
/// Where a tool accepts drivers on the command line they are passed there, since files of the guest
/// that are read after ours may replace the list. For later updates they are in a file that sorts
/// last.
pub(super) async fn prepare(
    guestfs: &mut Guestfs,
    tool: Tool,
    order: BuildOrder<'_>,
) -> Result<String, Error> {
    let BuildOrder { kernel: Kernel { version, unified, .. }, file, modules, command_line } = order;
    let list = modules.join(" ");
    // Names of the guest's files may contain a quote.
    let (kernel, image) = (word(version), word(file));
    let command = match tool {
        Tool::InitramfsTools => {
            add_lines(guestfs, "/etc/initramfs-tools/modules", &modules.join("\n")).await?;
            // Under its own name it also updates what the boot loader needs.
            match guestfs.is_file("/usr/sbin/update-initramfs").await? {
                true if file == format!("/boot/initrd.img-{version}") => {
                    format!("update-initramfs -u -k {kernel}")
                }
                _ => format!("mkinitramfs -o {image} {kernel}"),
            }
        }
        Tool::Dracut => {
            make_folder(guestfs, "/etc/dracut.conf.d").await?;
            let drivers = format!("add_drivers+=\" {list} \"\n");
            guestfs.write("/etc/dracut.conf.d/zz-hyperexport.conf", &drivers).await?;
            let uefi = if *unified { with_command_line(command_line) } else { String::new() };
            format!("dracut --force --add-drivers '{list}'{uefi} {image} {kernel}")
        }
        Tool::Mkinitcpio => {
            // The files are shell scripts: in every version of the tool, the last addition counts.
            let line = format!("MODULES+=({list})");
            add_lines(guestfs, "/etc/mkinitcpio.conf", &line).await?;
            if guestfs.is_dir("/etc/mkinitcpio.conf.d").await? {
                let last = "/etc/mkinitcpio.conf.d/zz-hyperexport.conf";
                guestfs.write(last, &format!("{line}\n")).await?;
            }
            if *unified {
                guestfs.write(COMMAND_LINE, &format!("{command_line}\n")).await?;
                format!("mkinitcpio -k {kernel} -U {image} --cmdline {COMMAND_LINE}")
            } else {
                format!("mkinitcpio -k {kernel} -g {image}")
            }
        }
        Tool::Mkinitfs => {
            let path = "/etc/mkinitfs/mkinitfs.conf";
            let text = guestfs.read(path).await?.unwrap_or_default();
            make_folder(guestfs, "/etc/mkinitfs").await?;
            guestfs.write(path, &with_feature(&text)).await?;
            format!("mkinitfs -o {image} {kernel}")
        }
        Tool::Mkinitrd => {
            let with: Vec<_> = modules.iter().map(|name| format!("--with={name}")).collect();
            format!(
                "mkinitrd -k vmlinuz-{kernel} -i \"$(basename {image})\" -m '{list}' || \
                 mkinitrd -f {} {image} {kernel}",
                with.join(" ")
            )
        }
    };
    Ok(command)
}

/// Quotes a word for the guest's shell.
fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Options of dracut for a unified kernel image. Without them dracut would derive the command line
/// from the appliance's hardware.
fn with_command_line(line: &str) -> String {
    let line = match line {
        "" => String::new(),
        line => format!(" --kernel-cmdline {}", word(line)),
    };
    format!(" --uefi --no-hostonly-cmdline{line}")
}

async fn make_folder(guestfs: &mut Guestfs, path: &str) -> Result<(), Error> {
    guestfs.modify("making a folder in the guest", &["mkdir-p", path]).await
}

/// Appends lines to a file of the guest, unless they are its last ones.
async fn add_lines(guestfs: &mut Guestfs, path: &str, lines: &str) -> Result<(), Error> {
    let text = guestfs.read(path).await?.unwrap_or_default();
    let text = text.trim_end();
    if text.ends_with(lines) {
        return Ok(());
    }
    guestfs.write(path, &format!("{text}\n{lines}\n")).await
}

/// Adds virtio to `features="…"` of mkinitfs.conf (mkinitfs, `features.d/virtio.modules`).
fn with_feature(text: &str) -> String {
    let mut found = false;
    let line = |line: &str| {
        let Some(value) = line.trim().strip_prefix("features=") else { return format!("{line}\n") };
        found = true;
        let value = value.trim_matches(['"', '\'']);
        if value.split_whitespace().any(|feature| feature == "virtio") {
            return format!("{line}\n");
        }
        format!("features=\"{value} virtio\"\n")
    };
    let mut changed: String = text.lines().map(line).collect();
    if !found {
        changed += "features=\"ata base cdrom ext4 keymap kms mmc nvme raid scsi usb virtio\"\n";
    }
    changed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::native::played::{Played, PlayedAppliance};

    #[test]
    fn the_features_of_alpine_gain_virtio_once() {
        let with = "# x\nfeatures=\"ata base ext4 virtio\"\n";
        assert_eq!(with_feature("# x\nfeatures=\"ata base ext4\"\n"), with);
        assert_eq!(with_feature(with), with);
        assert!(with_feature("").contains(" virtio\""));
    }

    /// The command for a tool of a guest with these files.
    async fn command(
        tool: Tool,
        files: &[(&str, &[u8])],
        unified: bool,
    ) -> (String, PlayedAppliance) {
        let played = Played::new(files, json!({}));
        let mut guestfs = played.started().await;
        let kernel = Kernel { version: "6.1".to_owned(), unified, ..Kernel::default() };
        let order = BuildOrder {
            kernel: &kernel,
            file: "/boot/i.img",
            modules: &["virtio_pci", "virtio_blk"],
            command_line: "root=UUID=5eed it='s",
        };
        let command = prepare(&mut guestfs, tool, order).await.expect("prepared");
        (command, guestfs)
    }

    #[tokio::test]
    async fn the_tool_that_new_kernels_call_builds_the_initramfs() {
        let core: [(&str, &[u8]); 2] =
            [("usr/sbin/mkinitramfs", b"x"), ("etc/initramfs-tools/initramfs.conf", b"x")];
        let dracut: (&str, &[u8]) = ("usr/bin/dracut", b"x");
        let hook: (&str, &[u8]) = ("etc/kernel/postinst.d/dracut", b"x");
        let vendors: (&str, &[u8]) = ("usr/share/kernel/postinst.d/dracut", b"x");
        for (more, expected) in [
            (&[][..], Tool::InitramfsTools),
            (&[dracut][..], Tool::InitramfsTools),
            (&[dracut, hook][..], Tool::Dracut),
            (&[dracut, vendors][..], Tool::Dracut),
            // A removed package leaves its hook behind.
            (&[hook][..], Tool::InitramfsTools),
        ] {
            let files: Vec<_> = core.iter().chain(more).copied().collect();
            let played = Played::new(&files, json!({}));
            let mut guestfs = played.started().await;
            let found = installed(&mut guestfs).await.expect("asked");
            assert_eq!(found, Some(expected), "{more:?}");
        }
    }

    #[tokio::test]
    async fn no_drop_in_of_the_guest_s_sets_the_list_anew() {
        let own = ("etc/dracut.conf.d/vmware.conf", b"add_drivers=\"vmw_pvscsi\"".as_slice());
        let (command, mut guestfs) = command(Tool::Dracut, &[own], false).await;
        assert!(command.contains("--add-drivers 'virtio_pci virtio_blk'"), "{command}");
        let files = guestfs.glob("/etc/dracut.conf.d/*.conf").await.expect("listed");
        assert!(files.last().is_some_and(|path| path.ends_with("hyperexport.conf")), "{files:?}");
    }

    #[tokio::test]
    async fn drop_ins_of_mkinitcpio_get_one_that_is_read_last() {
        let files = [
            ("etc/mkinitcpio.conf", b"MODULES=()\n".as_slice()),
            ("etc/mkinitcpio.conf.d/x.conf", b"MODULES=(vmw_pvscsi)\n".as_slice()),
        ];
        let (_, mut guestfs) = command(Tool::Mkinitcpio, &files, false).await;
        let files = guestfs.glob("/etc/mkinitcpio.conf.d/*").await.expect("listed");
        let last = guestfs.read(files.last().expect("one")).await.expect("read");
        assert_eq!(last.as_deref(), Some("MODULES+=(virtio_pci virtio_blk)\n"));
    }

    #[tokio::test]
    async fn a_quote_in_the_name_of_a_file_stays_in_the_name() {
        let tools = [Tool::InitramfsTools, Tool::Dracut, Tool::Mkinitcpio, Tool::Mkinitfs];
        for tool in tools.into_iter().chain([Tool::Mkinitrd]) {
            let files = [
                ("etc/mkinitcpio.conf", b"".as_slice()),
                ("etc/initramfs-tools/modules", b""),
                ("etc/dracut.conf.d/x.conf", b""),
                ("etc/mkinitfs/mkinitfs.conf", b""),
            ];
            let mut guestfs = Played::new(&files, json!({})).started().await;
            let kernel = Kernel { version: "6'; v".to_owned(), ..Kernel::default() };
            let file = "/boot/i'; touch x";
            let order =
                BuildOrder { kernel: &kernel, file, modules: &["virtio_blk"], command_line: "" };
            let command = prepare(&mut guestfs, tool, order).await.expect("prepared");
            assert!(command.contains(r"'/boot/i'\''; touch x'"), "{command}");
            assert!(command.contains(r"'6'\''; v'"), "{command}");
        }
    }

    #[tokio::test]
    async fn mkinitrd_is_asked_only_for_modules_that_are_there() {
        let (command, _) = command(Tool::Mkinitrd, &[], false).await;
        assert!(command.contains("-f --with=virtio_pci --with=virtio_blk '"), "{command}");
        assert!(!command.contains("virtio_scsi"), "{command}");
    }

    #[tokio::test]
    async fn a_unified_kernel_is_built_with_the_command_line_that_it_had() {
        let (dracut, _) = command(Tool::Dracut, &[], true).await;
        let line = r"--kernel-cmdline 'root=UUID=5eed it='\''s'";
        assert!(dracut.contains(line), "{dracut}");
        let files = [("etc/mkinitcpio.conf", b"MODULES=()\n".as_slice()), ("tmp/x", b"")];
        let (command, mut guestfs) = command(Tool::Mkinitcpio, &files, true).await;
        assert!(command.contains(&format!("--cmdline {COMMAND_LINE}")), "{command}");
        let line = guestfs.read(COMMAND_LINE).await.expect("read");
        assert_eq!(line.as_deref(), Some("root=UUID=5eed it='s\n"));
    }
}
