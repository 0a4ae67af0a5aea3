//! Generates the Workload API's client and server. protox compiles the definition, so no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let definition = "proto/workload.proto";
    println!("cargo::rerun-if-changed={definition}");
    let descriptors = protox::compile([definition], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(std::env::var_os("CARGO_FEATURE_SERVER").is_some())
        .build_transport(false)
        // google.protobuf.Struct is the only foreign type, not worth a dependency on prost-types.
        .compile_well_known_types(true)
        // They carry keys and tokens: src/redacted.rs has a Debug that does not print them.
        .skip_debug([
            "X509SVID",
            "X509SVIDResponse",
            "JWTSVID",
            "JWTSVIDResponse",
            "ValidateJWTSVIDRequest",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
