//! Reflection: what tools such as grpcurl ask, in both versions that they speak.

use crate::live::Stage;
use crate::support::database::Kind;
use crate::support::grpc::channel;
use prost::Message;
use prost_types::FileDescriptorProto;
use std::collections::BTreeSet;

macro_rules! described {
    ($version:ident, $address:expr) => {{
        use tonic_reflection::pb::$version::ServerReflectionRequest;
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;

        let mut client = ServerReflectionClient::new(channel($address).await);
        let mut services = BTreeSet::new();
        let mut files = BTreeSet::new();
        for asked in [
            MessageRequest::ListServices(String::new()),
            MessageRequest::FileContainingSymbol("resolvespec.v1.ResolveSpec".to_owned()),
            MessageRequest::FileByFilename("google/protobuf/struct.proto".to_owned()),
            MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".to_owned()),
        ] {
            let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
            let stream = client.server_reflection_info(futures_util::stream::iter([request])).await.expect("a stream");
            let answer = stream.into_inner().message().await.expect("an answer").expect("an answer");
            match answer.message_response.expect("something") {
                MessageResponse::ListServicesResponse(list) => services.extend(list.service.into_iter().map(|one| one.name)),
                MessageResponse::FileDescriptorResponse(found) => files.extend(
                    found
                        .file_descriptor_proto
                        .iter()
                        .map(|file| FileDescriptorProto::decode(file.as_slice()).expect("a file").name().to_owned()),
                ),
                other => panic!("{other:?}"),
            }
        }
        assert!(services.contains("resolvespec.v1.ResolveSpec") && services.contains("grpc.health.v1.Health"), "{services:?}");
        assert!(
            files.contains("resolvespec/v1/resolvespec.proto") && files.contains("google/protobuf/struct.proto"),
            "{files:?}"
        );
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_describes_itself_in_both_versions() {
    let stage = Stage::open(Kind::Sqlite).await;
    described!(v1, stage.first.address);
    described!(v1alpha, stage.first.address);
    stage.close().await;
}
