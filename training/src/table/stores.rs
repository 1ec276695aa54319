//! Object stores by their addresses: the first table of a bucket opens it, with what the environment says of it.
//!
//! `s3://bucket/…` reads the variables of AWS's own tools (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`,
//! `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, …), `gs://bucket/…` those of Google's (`GOOGLE_APPLICATION_CREDENTIALS`, …), as the
//! crate `object_store` documents them.

use std::{sync::Arc, time::Duration};

use datafusion::{
    error::{DataFusionError, Result},
    execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry},
};
use object_store::ObjectStore;
use url::Url;

/// The local file system, and every bucket that a table was asked of.
#[derive(Debug, Default)]
pub struct Stores(DefaultObjectStoreRegistry);

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.0.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if let Ok(store) = self.0.get_store(url) {
            return Ok(store);
        }
        let store = open(url)?;
        self.register_store(url, Arc::clone(&store));
        Ok(store)
    }
}

#[cfg(feature = "cloud")]
fn open(url: &Url) -> Result<Arc<dyn ObjectStore>> {
    use object_store::{RetryConfig, aws::AmazonS3Builder, gcp::GoogleCloudStorageBuilder};
    // A store that cannot be reached is told of within a minute.
    let retry =
        RetryConfig { max_retries: 4, retry_timeout: Duration::from_secs(60), ..RetryConfig::default() };
    Ok(match url.scheme() {
        "s3" | "s3a" => {
            Arc::new(AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry).build()?)
        }
        "gs" => {
            Arc::new(GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry).build()?)
        }
        _ => return Err(unknown(url)),
    })
}

#[cfg(not(feature = "cloud"))]
fn open(url: &Url) -> Result<Arc<dyn ObjectStore>> {
    Err(match url.scheme() {
        "s3" | "s3a" | "gs" => DataFusionError::Configuration(
            "this build reads no object stores; build it with `--features cloud`".into(),
        ),
        _ => unknown(url),
    })
}

fn unknown(url: &Url) -> DataFusionError {
    DataFusionError::Configuration(format!(
        "{}:// is no place for a table; give a path, file://, s3:// or gs://",
        url.scheme()
    ))
}
