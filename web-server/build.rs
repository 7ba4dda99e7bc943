//! The web page is embedded from `frontend/app/dist`, which must exist for that, even if empty: without a
//! built page the server shows how to build it.

fn main() {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/../frontend/app/dist");
    if let Err(error) = std::fs::create_dir_all(dist) {
        println!("cargo:warning=cannot make {dist}: {error}");
    }
    println!("cargo:rerun-if-changed={dist}");
}
