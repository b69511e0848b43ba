//! Calls passed through to a service of this machine that answers 1 KB at once, beside a bare reverse proxy of the same HTTP stack: it passes a
//! request on over a kept connection, and the answer back, and neither knows nor looks at anything.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST as HOST_HEADER;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use crate::Sizes;
use crate::asking::{CONNECTIONS, counted, side_by_side};
use crate::served::front;
use crate::service::{HOST, Owner, body, door};
use crate::table::{compare, median};
use crate::vault::OpenVault;

/// Bytes of the service's answer.
const ANSWER: usize = 1024;

/// A vault with a connection, served, and a call to be passed through.
async fn ours(folder: &Path, service: SocketAddr) -> (SocketAddr, Arc<[u8]>) {
    let opened = OpenVault::create(folder).await;
    let owner = Owner { vault: &opened.vault, principal: &opened.owner };
    owner.serves("local", service.port()).await;
    owner.connect("local", "acme").await;
    let address = front(Arc::new(opened.vault), door).await;
    let named = "x-apideck-app-id: app\r\nx-apideck-consumer-id: acme\r\nx-apideck-service-id: local\r\nx-apideck-unified-api: crm";
    let asked = "x-apideck-downstream-url: /deals?limit=5&cursor=AQID\r\naccept: application/json\r\nuser-agent: a-client/1.0";
    let request = format!("GET /v1/proxy HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\n{named}\r\n{asked}\r\n\r\n", opened.token);
    (address, request.into_bytes().into())
}

/// Each connection of a caller has one to the service.
async fn bare(service: SocketAddr) -> (SocketAddr, Arc<[u8]>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let onward = Arc::new(Mutex::new(connect(service).await));
                let pass = service_fn(move |request| pass(Arc::clone(&onward), request));
                drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), pass).await);
            });
        }
    });
    let headers = "authorization: Bearer v1u:access-token-of-000000000000000000000000000acme\r\naccept: application/json\r\nuser-agent: a-client/1.0";
    let request = format!("GET /v1/deals?limit=5&cursor=AQID HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n\r\n");
    (address, request.into_bytes().into())
}

async fn connect(service: SocketAddr) -> SendRequest<Incoming> {
    let stream = TcpStream::connect(service).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn pass(onward: Arc<Mutex<SendRequest<Incoming>>>, mut request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    request.headers_mut().insert(HOST_HEADER, HOST.parse().unwrap());
    let mut onward = onward.lock().await;
    onward.ready().await.unwrap();
    Ok(onward.send_request(request).await.unwrap())
}

pub fn measure(runtime: &Runtime, folder: &Path, sizes: &Sizes) {
    runtime.block_on(async {
        let service = body(ANSWER).await;
        let (ours, request) = ours(&folder.join("proxy"), service).await;
        let (bare, passed) = bare(service).await;
        for connections in CONNECTIONS {
            let (of_ours, of_bare) = side_by_side((ours, &request), (bare, &passed), connections, sizes).await;
            let added = 1e6 / median(&of_ours) - 1e6 / median(&of_bare);
            compare(&format!("calls passed through, {}", counted(connections)), &of_ours, &of_bare, &format!("{added:.0} µs per call added"));
        }
    });
}
