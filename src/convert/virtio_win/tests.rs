//! Driver folders in all layouts.

use super::*;
use crate::model::Hint;

/// A folder with these files, all empty.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "").expect("written");
    }
    dir
}

/// The files of one driver set in the layout of the ISO.
fn iso_layout(systems: &[&str]) -> Vec<String> {
    let of = |system: &&str| {
        ["viostor/S/viostor.sys", "viostor/S/viostor.inf", "NetKVM/S/netkvm.inf"]
            .map(|path| path.replace('S', system))
    };
    systems.iter().flat_map(of).collect()
}

fn drivers(systems: &[&str]) -> (tempfile::TempDir, Drivers) {
    let files = iso_layout(systems);
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let dir = folder(&files);
    let drivers = read(dir.path()).expect("drivers");
    (dir, drivers)
}

fn sources(path: &Path) -> WindowsSources {
    WindowsSources { virtio_win: Some(path.to_owned()), ..WindowsSources::default() }
}

#[test]
fn what_is_there_is_told_by_release_and_processor() {
    let (_dir, drivers) = drivers(&["w10/amd64", "w7/x86", "2k25/amd64"]);
    assert_eq!(drivers.summary(), "amd64: Windows 10, Server 2025; x86: Windows 7");
    let served = |ids: &[&str], arch| {
        let of = drivers.serve(ids, arch);
        of.iter().map(|of| of.windows).collect::<Vec<_>>()
    };
    assert_eq!(served(&["win10"], Some("x86_64")), ["win10"]);
    assert_eq!(served(&["win10"], Some("i686")), [""; 0]);
    assert_eq!(served(&["win7"], None), ["win7"]);
    assert_eq!(served(&["win11"], Some("x86_64")), ["win10"], "signed for both");
    assert_eq!(served(&["win2k12", "win2k12r2"], None), [""; 0]);
    assert_eq!(served(&[], None).len(), 3);
    let of = drivers.serve(&["win10"], None);
    assert_eq!(of[0].drivers, ["viostor", "netkvm"]);
}

#[test]
fn what_holds_no_drivers_is_refused() {
    let empty = folder(&["readme.txt", "viostor/w10/amd64/viostor.inf"]);
    let why = |path: &Path| read(path).expect_err("no drivers").to_string();
    assert!(why(empty.path()).contains("holds no viostor.sys"), "{}", why(empty.path()));
    assert!(why(&empty.path().join("readme.txt")).contains("neither a folder nor an ISO image"));
    assert!(why(&empty.path().join("missing")).contains("No such file"));
    let error = read(empty.path()).expect_err("no drivers");
    assert!(error.hint().expect("a hint").contains("fedorapeople.org"));
}

#[test]
fn links_and_folders_within_themselves_are_no_trap() {
    let (dir, _) = drivers(&["w10/amd64"]);
    std::os::unix::fs::symlink("w10", dir.path().join("viostor/w11")).expect("a link");
    std::os::unix::fs::symlink("..", dir.path().join("viostor/again")).expect("a link");
    let drivers = read(dir.path()).expect("drivers");
    assert_eq!(drivers.summary(), "amd64: Windows 10, 11");
}

#[tokio::test]
async fn a_release_that_virt_v2v_does_not_know_gets_its_drivers_under_another_name() {
    let (dir, _) = drivers(&["w10/amd64", "2k25/amd64"]);
    let work = tempfile::tempdir().expect("a folder");
    let handed = async |osinfo, arch, product| {
        hand_over(&sources(dir.path()), osinfo, arch, product, work.path()).await.expect("handed")
    };
    let itself = Some(dir.path().to_owned());
    let ten = handed("win10", "x86_64", "Windows 10 Pro").await;
    assert_eq!(ten, Handed { virtio_win: itself.clone(), fits: true });
    let old = handed("win7", "x86_64", "Windows 7 Professional").await;
    assert_eq!(old, Handed { virtio_win: itself, fits: false });
    let staged = work.path().join("virtio-win");
    let server = handed("win2k16", "x86_64", "Windows Server 2025 Standard").await;
    assert_eq!(server, Handed { virtio_win: Some(staged.clone()), fits: true });
    assert!(staged.join("2k16/amd64/viostor.sys").is_file());
    assert!(!staged.join("w10").exists());
    assert!(handed("win11", "x86_64", "Windows 10 Pro").await.fits);
    assert!(staged.join("w11/amd64/netkvm.inf").is_file());
}

#[tokio::test]
async fn without_a_place_there_are_no_drivers() {
    let empty = folder(&["readme.txt"]);
    let work = tempfile::tempdir().expect("a folder");
    let sources = sources(empty.path());
    let handed = hand_over(&sources, "win10", "x86_64", "Windows 10 Pro", work.path()).await;
    let error = handed.expect_err("none");
    assert!(matches!(error, Error::VirtioWin { .. }), "{error}");
}
