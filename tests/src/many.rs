//! How does a benchmark put thousands of objects on an API server?

use std::path::Path;

use kube::Api;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Requests at a time.
const HANDS: usize = 32;

/// A client by a kubeconfig.
pub async fn client(kubeconfig: &Path) -> kube::Client {
    let config = Kubeconfig::read_from(kubeconfig).expect("it is there");
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options).await;
    kube::Client::try_from(config.expect("it is whole")).expect("it can be used")
}

/// A kind of objects.
#[must_use]
pub fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let gvk = kube::core::GroupVersionKind::gvk(group, version, kind);
    ApiResource::from_gvk_with_plural(&gvk, plural)
}

/// An object of this kind.
#[must_use]
pub fn object(of: &ApiResource, mut object: Value) -> DynamicObject {
    object["apiVersion"] = json!(of.api_version);
    object["kind"] = json!(of.kind);
    serde_json::from_value(object).expect("it is an object")
}

/// Makes it.
pub async fn made(api: Api<DynamicObject>, object: DynamicObject) -> DynamicObject {
    let made = api.create(&PostParams::default(), &object).await;
    made.expect("it is taken")
}

/// All of them, so many at a time.
pub async fn all<F: Future<Output = ()> + Send + 'static>(jobs: impl Iterator<Item = F>) {
    let mut hands = JoinSet::new();
    for job in jobs {
        if hands.len() >= HANDS {
            hands
                .join_next()
                .await
                .expect("there is one")
                .expect("it does not panic");
        }
        hands.spawn(job);
    }
    hands.join_all().await;
}
