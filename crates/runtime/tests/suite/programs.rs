//! Programs that exist, do not, or may not be executed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use api::code::Code;
use runtime::{Created, Stdio};

use crate::fixture::{Image, chain};

fn refusal(image: &mut Image, args: &[&str]) -> (String, Code) {
    let error = image.args(args).refused();
    (chain(&error), error.code())
}

#[test]
fn missing_programs_are_127() {
    let mut image = Image::new();
    let missing = refusal(&mut image, &["nonsense"]);
    assert_eq!(missing, (r#"exec: "nonsense": executable file not found in $PATH"#.into(), Code::NotFound));
    let missing = refusal(&mut image, &["/nonsense"]);
    assert_eq!(
        missing,
        (r#"exec: "/nonsense": stat /nonsense: no such file or directory"#.into(), Code::NotFound)
    );
    assert_eq!(refusal(&mut image, &[""]).1, Code::NotFound);
}

#[test]
fn files_that_may_not_be_executed_are_126() {
    let mut image = Image::new();
    fs::write(image.path("bin/plain"), "#!/bin/sh\n").unwrap();
    let denied = (r#"exec: "/bin/plain": permission denied"#.to_owned(), Code::PermissionDenied);
    assert_eq!(refusal(&mut image, &["/bin/plain"]), denied);
    assert_eq!(refusal(&mut image, &["/etc"]).0, r#"exec: "/etc": permission denied"#);
    assert_eq!(refusal(&mut image, &["/bin/busybox/x"]).1, Code::PermissionDenied);
    // Found in PATH but not executable: passed over, as every shell does.
    assert_eq!(refusal(&mut image, &["plain"]).1, Code::NotFound);
}

#[test]
fn permission_is_that_of_the_user() {
    let mut image = Image::new();
    fs::copy("/bin/busybox", image.path("bin/private")).unwrap();
    fs::set_permissions(image.path("bin/private"), Permissions::from_mode(0o700)).unwrap();
    image.args(&["/bin/private", "true"]).run();
    image.process().user.uid = 1000;
    assert_eq!(refusal(&mut image, &["/bin/private", "true"]).1, Code::PermissionDenied);
}

#[test]
fn files_that_the_kernel_cannot_execute_fail_at_the_start() {
    let mut image = Image::new();
    let cases = [
        (
            "no-interpreter",
            "#!/nonsense\n",
            "exec /bin/no-interpreter: no such file or directory",
            Code::NotFound,
        ),
        ("text", "just text", "exec /bin/text: exec format error", Code::PermissionDenied),
    ];
    for (name, content, message, code) in cases {
        let path = image.path("bin").join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let Created { mut container, .. } =
            image.args(&[&format!("/bin/{name}")]).try_create(Stdio::Null).unwrap();
        let error = container.start().expect_err("the kernel refuses it");
        assert_eq!((chain(&error).as_str(), error.code()), (message, code));
        container.destroy().unwrap();
    }
}

#[test]
fn programs_in_volumes_are_found() {
    let mut image = Image::new();
    let volume = image.host_directory("volume");
    fs::copy("/bin/busybox", volume.join("echo")).unwrap();
    image.mount("bind", &volume, "/tools", &["bind"]);
    image.process().env = vec!["PATH=/tools".into()];
    assert_eq!(image.args(&["echo", "hello"]).run().stdout, "hello\n");
}

#[test]
fn arguments_and_environment_are_exact() {
    let mut image = Image::new();
    image.process().env = vec!["PATH=/bin".into(), "A=b c".into(), "EMPTY=".into(), "ODD".into()];
    let output = image.args(&["env"]).run().stdout;
    assert_eq!(output, "PATH=/bin\nA=b c\nEMPTY=\nODD\n");
    let output = image.args(&["sh", "-c", "printf '%s|' \"$0\" \"$@\"", "", "a b", "*"]).run().stdout;
    assert_eq!(output, "|a b|*|");
}
