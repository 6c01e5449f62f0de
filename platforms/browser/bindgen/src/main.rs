//! `bindgen MODULE.wasm FOLDER`: writes the module and the JavaScript that loads it, for browsers and Node alike. It is
//! what the command line of wasm-bindgen does, without the test runner that comes with it.

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, folder] = arguments.as_slice() else {
        return Err("usage: bindgen MODULE.wasm FOLDER".into());
    };
    Bindgen::new().input_path(module).web(true)?.typescript(false).generate(folder)?;
    Ok(())
}
