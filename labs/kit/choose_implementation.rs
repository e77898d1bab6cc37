//! The build script of every lab. It turns the environment variable `LAB_IMPL` into a cfg, by which
//! `kit::implementation!` chooses, and does nothing else.

fn main() {
    println!("cargo:rerun-if-env-changed=LAB_IMPL");
    println!("cargo:rustc-check-cfg=cfg(lab_impl, values(\"solution\", \"starter\", \"wrong\"))");
    let chosen = std::env::var("LAB_IMPL").unwrap_or_else(|_| "solution".into());
    match chosen.as_str() {
        "solution" | "starter" | "wrong" => println!("cargo:rustc-cfg=lab_impl=\"{chosen}\""),
        other => panic!("LAB_IMPL is {other:?}: say `solution` (the default) or `starter`"),
    }
}
