//! Saves under stress: processes that are killed, disks that are full, folders that are read-only, and many writers of
//! one path. The writers are processes of their own: this program again, with [`WRITER`] in its environment. Windows
//! has no limit on the size of files and no read-only folders, so that two tests are for Unix alone.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use attractor::{Device, Memory, Rule};
use tempfile::TempDir;

/// `save N` saves memories number N, N + 1, ... in a loop; `save N times M` saves M of them; both to the path in
/// [`TARGET`].
const WRITER: &str = "ATTRACTOR_TEST_WRITER";
const TARGET: &str = "ATTRACTOR_TEST_TARGET";
const ROWS: usize = 3000;
const DIM: usize = 64;
/// Between two looks at a file that is being replaced. Where a file that is open is not replaced, looks must leave time
/// for a save.
const GAP: Duration = Duration::from_millis(if cfg!(windows) { 20 } else { 1 });

/// A memory whose every number is `number`.
fn memory(number: u32) -> Memory {
    let mut memory = Memory::new(&Device::cpu(), DIM, Rule::softmax(1.0)).unwrap();
    memory.add(&vec![number as f32; ROWS * DIM]).unwrap();
    memory
}

/// The number of the memory at `path`, all of which must be there.
#[track_caller]
fn number(path: &Path) -> u32 {
    let memory = Memory::load(&Device::cpu(), path).unwrap();
    assert_eq!(memory.len(), ROWS);
    let first = memory.get(memory.id_at(0).unwrap()).unwrap().key[0];
    for position in 0..ROWS {
        let row = memory.get(memory.id_at(position).unwrap()).unwrap().key;
        assert!(row.iter().all(|v| *v == first), "position {position}");
    }
    first as u32
}

/// Whether the file at `path` is replaced while it is open: on Unix and Windows, but not under Wine.
fn is_replaced_while_open(path: &Path) -> bool {
    let _open = fs::File::open(path).unwrap();
    memory(0).save(path).is_ok()
}

/// Files of the folder besides `path`.
fn others(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| Some(name.as_os_str()) != path.file_name()).map(|name| name.into_string().unwrap()).collect()
}

/// This program as a writer.
fn writer(path: &Path, work: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "saves::write", "--nocapture"]).env(WRITER, work).env(TARGET, path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// What a writer does; nothing where this is no writer. A failed save is printed on standard error and ends with status
/// 1.
#[test]
fn write() {
    let (Ok(work), Some(path)) = (std::env::var(WRITER), std::env::var_os(TARGET)) else { return };
    let words: Vec<&str> = work.split(' ').collect();
    let (first, times): (u32, u32) = match words[..] {
        ["save", first] => (first.parse().unwrap(), u32::MAX),
        ["save", first, "times", times] => (first.parse().unwrap(), times.parse().unwrap()),
        _ => panic!("{work}"),
    };
    for number in first..first.saturating_add(times) {
        if let Err(error) = memory(number).save(&path) {
            eprintln!("refused: {error}");
            std::process::exit(1);
        }
    }
}

fn said(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_writer_that_is_killed_leaves_a_whole_memory() {
    const KILLS: u32 = 200;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.safetensors");
    memory(1_000_000).save(&path).unwrap();
    let (mut most, mut caught, mut last) = (0, 0, 1_000_000);
    for kill in 0..KILLS {
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        let mut child = writer(&path, &format!("save {}", kill * 1000)).spawn().unwrap();
        // Until its first save is there; then somewhere within another.
        let start = Instant::now();
        while fs::metadata(&path).unwrap().modified().unwrap() == before {
            if start.elapsed() > Duration::from_secs(60) || child.try_wait().unwrap().is_some() {
                child.kill().unwrap();
                panic!("no save: {:?}", said(child));
            }
            std::thread::sleep(GAP);
        }
        std::thread::sleep(Duration::from_micros(u64::from(kill * 7919 % 20_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = number(&path);
        assert!((kill * 1000..kill * 1000 + 1000).contains(&found), "kill {kill}: {found} after {last}");
        last = found;
        let left = others(&path).len();
        caught += usize::from(left > 0);
        most = most.max(left);
    }
    assert!(most <= 1, "{most} temporary files pile up");
    memory(7).save(&path).unwrap();
    assert_eq!((number(&path), others(&path)), (7, Vec::new()));
    println!("{KILLS} kills, {caught} of them within a save: a whole memory each time, at most {most} temporary file");
    assert!(caught > 0, "no kill came within a save");
}

#[test]
fn eight_writers_of_one_path() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.safetensors");
    memory(0).save(&path).unwrap();
    let replaced = is_replaced_while_open(&path);
    assert!(replaced || cfg!(windows));
    if !replaced {
        return eprintln!(
            "SKIP eight writers: a file that is open is not replaced here, so that they refuse each other"
        );
    }
    let mut reads = 0;
    let mut children: Vec<Child> = (0..8)
        .map(|i| {
            // Two of them go on until they are killed.
            let work = if i < 2 { format!("save {}", i * 100_000) } else { format!("save {} times 25", i * 100_000) };
            writer(&path, &work).spawn().unwrap()
        })
        .collect();
    while children[2..].iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        assert!(number(&path) < 800_000);
        reads += 1;
        assert!(others(&path).len() <= 8, "{:?}", others(&path));
    }
    for (i, mut child) in children.into_iter().enumerate() {
        if i < 2 {
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            assert_eq!(said(child), (Some(0), String::new()), "writer {i}");
        }
    }
    number(&path);
    let left = others(&path);
    memory(7).save(&path).unwrap();
    assert_eq!((number(&path), others(&path)), (7, Vec::new()));
    println!(
        "8 writers, {reads} whole memories read meanwhile, {} temporary files of the 2 killed removed",
        left.len()
    );
}

/// A limit on the size of files stands for a full disk where none can be made.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_memory() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.safetensors");
    memory(3).save(&path).unwrap();
    let mut limited = Command::new("sh");
    // Otherwise the signal ends the process, which is another test.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" --exact saves::write --nocapture"]);
    limited.arg(std::env::current_exe().unwrap());
    limited.env(WRITER, "save 4 times 1").env(TARGET, &path).stdout(Stdio::null()).stderr(Stdio::piped());
    let (code, text) = said(limited.spawn().unwrap());
    assert!(code == Some(1) && text.contains("cannot write"), "{code:?}: {text}");
    assert_eq!((number(&path), others(&path)), (3, Vec::new()));
    println!("a limit on the size of files: refused, the old memory is whole");

    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&disk).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        return eprintln!("SKIP a full disk: no small file system can be mounted here");
    }
    let path = disk.join("memory.safetensors");
    // 768 KB fit once and not twice.
    memory(3).save(&path).unwrap();
    let (code, text) = said(writer(&path, "save 4 times 1").spawn().unwrap());
    let state = (number(&path), others(&path));
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    assert!(code == Some(1) && text.contains("cannot write"), "{code:?}: {text}");
    assert_eq!(state, (3, Vec::new()));
    println!("a full disk: refused, the old memory is whole");
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_leaves_the_old_memory() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let folder = TempDir::new().unwrap();
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).unwrap();
    let path = locked.join("memory.safetensors");
    memory(3).save(&path).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = writer(&path, "save 4 times 1");
    // The superuser may write anywhere; `nobody` may not.
    let probe = locked.join("probe");
    if fs::write(&probe, "").is_ok() {
        fs::remove_file(&probe).unwrap();
        command.uid(65534).gid(65534);
    }
    match command.spawn() {
        Err(error) => eprintln!("SKIP a read-only folder: no writer of another user: {error}"),
        Ok(child) => {
            let (code, text) = said(child);
            assert!(code == Some(1) && text.contains("cannot write"), "{code:?}: {text}");
            assert_eq!((number(&path), others(&path)), (3, Vec::new()));
            println!("a read-only folder: refused, the old memory is whole");
        }
    }
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
}
