//! Memory that a process had for its start and does not need any more.

use std::ffi::{c_int, c_void};

/// Gives back the heap's free pages and the stack's, and lets go of the program's code and constants. The latter are
/// pages of a file: what is used again comes back from the page cache, some at a time, at the price of a minor fault; the
/// rest, such as all that reads a command line, takes no memory of this process any more.
pub fn give_back() {
    // SAFETY: no arguments that could be wrong; glibc's own, other libraries give back by themselves.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
    give_back_stack();
    // At last, since whatever runs after it brings its pages back.
    // SAFETY: `let_go` keeps to the contract of the callback, and needs no data.
    unsafe { libc::dl_iterate_phdr(Some(let_go), std::ptr::null_mut()) };
}

/// What lies below our own frame was used by calls that have returned. Only on a process's first thread.
fn give_back_stack() {
    /// Not touched: the frames of what is called from here, and what a function may use below its own (128 bytes on x86-64).
    const MARGIN: usize = 16 << 10;
    let ours = 0_u8;
    let ours = std::ptr::from_ref(&ours).addr();
    // proc_pid_maps(5). Where it cannot be read nothing is given back, which is no loss but of room.
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    let range =
        maps.lines().find(|line| line.ends_with("[stack]")).and_then(|line| line.split_once(' ')?.0.split_once('-'));
    let Some((from, to)) = range else { return };
    let number = |text| usize::from_str_radix(text, 16).unwrap_or_default();
    let (from, to, below) = (number(from), number(to), ours.saturating_sub(MARGIN) / 4096 * 4096);
    if (from..to).contains(&below) {
        // SAFETY: private memory of this thread's stack that lies below all frames that are in use; it is zero when it is used next.
        unsafe { libc::madvise(std::ptr::without_provenance_mut::<c_void>(from), below - from, libc::MADV_DONTNEED) };
    }
}

/// The first object is the program itself (dl_iterate_phdr(3)); no other is looked at.
extern "C" fn let_go(object: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: the linker hands us an object that is loaded, with its headers.
    let (base, headers) = unsafe {
        let object = &*object;
        (object.dlpi_addr as usize, std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()))
    };
    for header in headers {
        // What cannot be written to is as in the file, whatever the linker has relocated elsewhere.
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
            let page = 4096;
            let from = (base + header.p_vaddr as usize) / page * page;
            let to = base + header.p_vaddr as usize + header.p_memsz as usize;
            // SAFETY: a private mapping of a file that nobody has written to: whatever is dropped is read from there again,
            // this very code, too. A failure changes nothing.
            unsafe { libc::madvise(from as *mut c_void, to - from, libc::MADV_DONTNEED) };
        }
    }
    1
}

#[cfg(test)]
mod tests {
    /// Resident pages of files, in kB (proc_pid_status(5)).
    fn of_files() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[test]
    fn code_is_let_go_and_comes_back() {
        let before = of_files();
        super::give_back();
        let after = of_files();
        assert!(after < before, "{after} kB of {before}");
        assert_eq!(format!("{:?}", std::path::Path::new("/a").join("b")), "\"/a/b\"");
    }
}
