//! More than a hundred ways to write a URL that must not be called: watched at the network and at real sockets, whatever the door answers.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use keyledger::egress::{Egress, EgressError, Limits, Policy, StreamLimits};
use tokio::net::TcpListener;

use crate::egress_bench::{Watched, get, ip, opened};

/// `{p}` is a port on which this machine listens. None may be called while no range is opened.
const FORMS: [&str; 154] = [
    // IPv4 as it is usually written, and in all the other ways that resolvers read.
    "https://127.0.0.1/",
    "https://127.0.0.1:{p}/",
    "http://127.0.0.1:{p}/",
    "http://127.0.0.1/",
    "http://127.0.0.2:{p}/",
    "http://127.1.2.3:{p}/",
    "http://127.0.0.1.:{p}/",
    "http://127.1:{p}/",
    "http://127.0.1:{p}/",
    "http://127.66051:{p}/",
    "http://2130706433:{p}/",
    "http://2130706433.:{p}/",
    "http://4294967296:{p}/",
    "http://6425673729:{p}/",
    "http://0x7f000001:{p}/",
    "http://0X7F000001:{p}/",
    "http://0x7f.1:{p}/",
    "http://0x7f.0x0.0x0.0x1:{p}/",
    "http://0x0000007f.0.0.1:{p}/",
    "http://017700000001:{p}/",
    "http://0177.1:{p}/",
    "http://0177.0.0.01:{p}/",
    "http://0000000177.0.0.1:{p}/",
    "http://127.0x0.0.01:{p}/",
    "http://127.0.0.0x:{p}/",
    "http://00.00.00.00:{p}/",
    "http://0:{p}/",
    "http://0x:{p}/",
    "http://0.0.0.0:{p}/",
    "https://0.0.0.0/",
    "http://256.0.0.1:{p}/",
    "http://127.0.0.1.1:{p}/",
    "http://127.0.0.256:{p}/",
    "http://127.0.0.08:{p}/",
    "http://-127.0.0.1:{p}/",
    "http://+127.0.0.1:{p}/",
    // Digits, letters and dots that become ASCII only later.
    "https://①②⑦.⓪.⓪.①/",
    "http://①②⑦.⓪.⓪.①:{p}/",
    "http://１２７.０.０.１:{p}/",
    "http://127。0。0。1:{p}/",
    "http://127．0．0．1:{p}/",
    "http://127｡0｡0｡1:{p}/",
    "http://𝟏𝟐𝟕.𝟎.𝟎.𝟏:{p}/",
    "http://𝟷𝟸𝟽.1:{p}/",
    "http://¹²⁷.⁰.⁰.¹:{p}/",
    "http://₁₂₇.₀.₀.₁:{p}/",
    "http://०x7f.1:{p}/",
    "http://١٢٧.٠.٠.١:{p}/",
    "http://0ⅹ7f.1:{p}/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{p}/",
    "http://ｌｏｃａｌｈｏｓｔ:{p}/",
    "http://ˡocalhost:{p}/",
    "http://loca\u{ad}lhost:{p}/",
    "http://local\u{200b}host:{p}/",
    "http://localhoſt:{p}/",
    "http://127.0.0.1\u{3002}:{p}/",
    "http://xn--127-.0.0.1:{p}/",
    "http://xn--localhost-:{p}/",
    // Percent signs in the host.
    "http://%31%32%37.0.0.1:{p}/",
    "http://127%2e0%2e0%2e1:{p}/",
    "http://127.0.0.1%00.example.com:{p}/",
    "http://127.0.0.1%2f.example.com:{p}/",
    "http://127.0.0.1%23.example.com:{p}/",
    "http://%6c%6f%63%61%6c%68%6f%73%74:{p}/",
    "http://%E2%91%A0%E2%91%A1%E2%91%A6.0.0.1:{p}/",
    "http://%2531:{p}/",
    // This machine by name.
    "https://localhost/",
    "http://localhost:{p}/",
    "http://LocalHost:{p}/",
    "http://localhost.:{p}/",
    "http://localhost..:{p}/",
    "http://.localhost:{p}/",
    "http://api.localhost:{p}/",
    "http://a.b.c.localhost.:{p}/",
    "http://localhost.localdomain:{p}/",
    "http://localhost6.localdomain6:{p}/",
    "http://ip6-loopback:{p}/",
    // IPv6, alone and with an IPv4 address inside.
    "https://[::1]/",
    "http://[::1]:{p}/",
    "http://[0:0:0:0:0:0:0:1]:{p}/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]:{p}/",
    "http://[::0.0.0.1]:{p}/",
    "http://[::]:{p}/",
    "http://[0:0::0]:{p}/",
    "https://[::ffff:7f00:1]/",
    "http://[::ffff:7f00:1]:{p}/",
    "http://[::ffff:127.0.0.1]:{p}/",
    "http://[::FFFF:127.0.0.1]:{p}/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{p}/",
    "http://[::127.0.0.1]:{p}/",
    "http://[::7f00:1]:{p}/",
    "http://[::ffff:0:127.0.0.1]:{p}/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::127.0.0.1]/",
    "https://[2002:7f00:1::1]/",
    "https://[2001:0:7f00:1::]/",
    "https://[2001:0:53aa:64c:0:0:80ff:fffe]/",
    "https://[fc00::1]/",
    "https://[fd12:3456:789a::1]/",
    "https://[fe80::1]/",
    "http://[fe80::1%25lo]:{p}/",
    "http://[fe80::1%lo]:{p}/",
    "http://[::1%25lo]:{p}/",
    "http://[::1%lo]:{p}/",
    "http://[::1]a:{p}/",
    "http://[::1:{p}/",
    "http://::1:{p}/",
    "http://[127.0.0.1]:{p}/",
    "http://[v1.127.0.0.1]:{p}/",
    "http://%5B::1%5D:{p}/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    // Machines that hand out credentials, and the ranges of inner networks.
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/",
    "https://0xA9FEA9FE/",
    "https://2852039166/",
    "https://0251.0376.0251.0376/",
    "https://169.254.43518/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[fd00:ec2::254]/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://192.0.0.192/",
    "https://10.0.0.1/",
    "https://012.1/",
    "https://172.31.255.255/",
    "https://192.168.0.1/",
    "https://100.64.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    // Names that resolve inside.
    "https://inside.example/",
    "https://inside.example./",
    "https://INSIDE.example/",
    "https://metadata.example/",
    "https://mapped.example/",
    "https://half-inside.example/",
    "https://nothing.example/",
    // Who is the host, who the user?
    "https://example.com@127.0.0.1/",
    "http://example.com:443@127.0.0.1:{p}/",
    "http://127.0.0.1:{p}@/",
    "http://@127.0.0.1:{p}/",
    "http://example.com\\@127.0.0.1:{p}/",
    "http://127.0.0.1:{p}\\@example.com/",
    "http:\\\\127.0.0.1:{p}/",
    "http:/127.0.0.1:{p}/",
    "http:127.0.0.1:{p}",
    "http:////127.0.0.1:{p}/",
    "http://127.0.0.1:{p}#@example.com/",
    "http://127.0.0.1:{p}?@example.com/",
    // White space and control characters.
    "\thttp://127.0.0.1:{p}/",
    "ht\ntp://127.0.0.1:{p}/",
    "http://127.0.0\n.1:{p}/",
    "http://127.0.0.1:{p}/\r\nhost: example.com",
];

/// Forms that are refused for what they are, whatever is opened.
const NEVER: [&str; 24] = [
    "",
    "127.0.0.1:{p}",
    "//127.0.0.1:{p}/",
    "ftp://127.0.0.1:{p}/",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:{p}/_GET",
    "ws://127.0.0.1:{p}/",
    "wss://127.0.0.1:{p}/",
    "unix:///run/docker.sock",
    "http+unix://%2Frun%2Fdocker.sock/",
    "dict://127.0.0.1:{p}/",
    "ldap://127.0.0.1:{p}/",
    "jar:http://127.0.0.1:{p}/",
    "view-source:http://127.0.0.1:{p}/",
    "blob:http://127.0.0.1:{p}/",
    "data:text/html,x",
    "http://",
    "http:///",
    "http://:{p}/",
    "http://?127.0.0.1:{p}",
    "http://u:p@127.0.0.1:{p}/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:65536/",
    "http://127.0.0.1:-1/",
];

/// Public hosts, on ports and by schemes that are for opened ranges only.
const PUBLIC_OTHERWISE: [&str; 8] = [
    "http://public.example/",
    "http://public.example:443/",
    "https://public.example:8443/",
    "https://public.example:22/",
    "https://public.example:80/",
    "http://8.8.8.8/",
    "https://8.8.8.8:8443/",
    "http://[2606:4700::1111]/",
];

fn filled(forms: &[&str], port: u16) -> Vec<String> {
    forms.iter().map(|form| form.replace("{p}", &port.to_string())).collect()
}

/// The same hosts where the public ones may be called: over https, on its own port. Nothing but the address can be refused then.
fn secure(forms: &[&str]) -> Vec<String> {
    forms.iter().map(|form| form.replace("http:", "https:").replace(":{p}", "")).collect()
}

/// Forms that are too long to write down.
fn long(port: u16) -> Vec<String> {
    let hosts = ["a".repeat(64), format!("{}localhost", "a.".repeat(130)), "1".repeat(3000), format!("{}177.1", "0".repeat(3000))];
    let mut forms: Vec<String> = hosts.iter().map(|host| format!("http://{host}:{port}/")).collect();
    forms.push(format!("http://127.0.0.1:{port}/{}", "a".repeat(4096)));
    forms
}

fn watched() -> Arc<Watched> {
    let network = Watched::default();
    network.name("inside.example", &[&["10.0.0.1"]]);
    network.name("metadata.example", &[&["169.254.169.254"]]);
    network.name("mapped.example", &[&["::ffff:127.0.0.1"]]);
    network.name("half-inside.example", &[&["8.8.8.8", "::1"]]);
    network.name("nothing.example", &[&[]]);
    network.name("public.example", &[&["93.184.215.14", "2606:2800:21f::1"]]);
    for this in ["localhost", "localhost.localdomain", "localhost6.localdomain6", "ip6-loopback", "api.localhost", "a.b.c.localhost"] {
        network.name(this, &[&["127.0.0.1", "::1"]]);
    }
    Arc::new(network)
}

/// What both ways out say of a URL.
async fn both(egress: &Egress, url: &str) -> [Result<u16, EgressError>; 2] {
    let sent = egress.send(get(url)).await.map(|answer| answer.status);
    let opened = egress.open(get(url), StreamLimits::default()).await.map(|stream| stream.status);
    [sent, opened]
}

/// Fails unless each form is refused without a connection.
async fn none_is_dialled(policy: &Policy, forms: &[String]) {
    let network = watched();
    let egress = Egress::new(policy.clone(), Limits::default()).over(Arc::clone(&network) as _);
    for form in forms {
        let answers = both(&egress, form).await;
        assert_eq!(network.take_dialled(), [""; 0], "{form:?} of {policy:?}: {answers:?}");
        assert!(answers.iter().all(|answer| matches!(answer, Err(EgressError::Refused(_) | EgressError::Unreachable(_)))), "{form:?}: {answers:?}");
    }
}

#[tokio::test]
async fn no_form_leads_inside_and_none_is_even_dialled() {
    let closed = Policy::default();
    // What is opened elsewhere opens http and ports for itself, and nothing for these.
    let elsewhere = opened(&["10.99.0.0/16", "fd99::/16", "64:ff9b::/96"]);
    for policy in [&closed, &elsewhere] {
        for forms in [&FORMS[..], &NEVER, &PUBLIC_OTHERWISE] {
            none_is_dialled(policy, &filled(forms, 443)).await;
            none_is_dialled(policy, &filled(forms, 8080)).await;
        }
        none_is_dialled(policy, &long(8080)).await;
        none_is_dialled(policy, &secure(&FORMS)).await;
    }
    none_is_dialled(&opened(&["0.0.0.0/0", "::/0"]), &filled(&NEVER, 443)).await;
}

#[tokio::test]
async fn what_may_be_called_is_dialled_exactly() {
    let network = watched();
    let closed = Egress::new(Policy::default(), Limits::default()).over(Arc::clone(&network) as _);
    let some = Egress::new(opened(&["127.0.0.0/8", "10.0.0.0/24"]), Limits::default()).over(Arc::clone(&network) as _);
    let cases: [(&Egress, &str, &[&str]); 9] = [
        (&closed, "https://public.example./", &["93.184.215.14:443", "[2606:2800:21f::1]:443"]),
        (&closed, "https://8.8.8.8/", &["8.8.8.8:443"]),
        (&closed, "https://0x08080808/", &["8.8.8.8:443"]),
        (&closed, "https://[2606:4700::1111]/", &["[2606:4700::1111]:443"]),
        (&some, "http://0x7f.1:81/", &["127.0.0.1:81"]),
        (&some, "http://①②⑦.⓪.⓪.②/", &["127.0.0.2:80"]),
        (&some, "https://inside.example:8443/", &["10.0.0.1:8443"]),
        (&some, "http://10.0.1.1/", &[]),
        (&some, "http://localhost/", &[]),
    ];
    for (egress, url, dialled) in cases {
        let answers = both(egress, url).await;
        assert_eq!(network.take_dialled(), [dialled, dialled].concat(), "{url}: {answers:?}");
    }
}

#[tokio::test]
async fn metadata_stays_barred_whatever_is_opened() {
    let everything = opened(&["0.0.0.0/0", "::/0"]);
    let forms = FORMS.iter().filter(|form| form.contains("169.254") || form.contains("metadata") || form.contains("a9fe")).copied();
    let further = ["http://0xA9FEA9FE/", "http://2852039166:81/", "http://[fd00:ec2::254]/", "http://100.100.100.200/", "http://168.63.129.16:32526/"];
    let services =
        ["http://169.254.170.2/", "http://169.254.170.23/", "http://169.254.0.23/", "http://169.254.42.42/", "http://[fd00:ec2::23]/", "http://[fd00:42::42]/"];
    let link = ["http://[fe80::a9fe:a9fe]/", "http://[64:ff9b::169.254.170.2]/"];
    let carriers = ["http://[64:ff9b::a9fe:a9fe]/", "http://[2002:a9fe:a9fe::]/", "http://[::169.254.169.254]/", "http://[::ffff:0:a9fe:a9fe]/"];
    let barred: Vec<&str> = forms.chain(further).chain(services).chain(link).chain(carriers).collect();
    assert!(barred.len() > 20);
    none_is_dialled(&everything, &filled(&barred, 81)).await;
}

#[tokio::test]
async fn a_name_that_turns_inwards_is_vetted_each_time() {
    let network = watched();
    network.name("turning.example", &[&["8.8.8.8"], &["127.0.0.1"], &["8.8.4.4"], &["169.254.169.254"]]);
    let egress = Egress::new(Policy::default(), Limits::default()).over(Arc::clone(&network) as _);
    let mut dialled = Vec::new();
    for _ in 0..2 {
        both(&egress, "https://turning.example/").await.into_iter().for_each(|answer| assert!(answer.is_err()));
        dialled.extend(network.take_dialled());
    }
    assert_eq!(dialled, ["8.8.8.8:443", "8.8.4.4:443"], "one look at the name for each call, and connected to that");
    assert_eq!(network.asked.lock().unwrap().len(), 4);
}

/// Listens on one port of many addresses of this machine, and on that of https where it may.
async fn everywhere() -> (u16, Vec<TcpListener>) {
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let mut listeners = vec![first];
    let others = ["127.0.0.2", "127.1.2.3", "::1"].map(|address| (address, port));
    for (address, port) in others.into_iter().chain(["127.0.0.1", "127.0.0.2", "127.1.2.3", "::1"].map(|address| (address, 443))) {
        match TcpListener::bind(SocketAddr::new(ip(address), port)).await {
            Ok(listener) => listeners.push(listener),
            // A machine without IPv6, and one whose own services or rules keep its low ports.
            Err(error) => assert!(error.kind() == ErrorKind::AddrNotAvailable || port == 443, "{address}: {error}"),
        }
    }
    (port, listeners)
}

/// The addresses on which somebody came in.
async fn accepted(listeners: &[TcpListener]) -> Vec<IpAddr> {
    let mut came = Vec::new();
    for listener in listeners {
        let (address, accept) = (listener.local_addr().unwrap(), listener.accept());
        // What the kernel took is there before the caller's connection stands: ours comes after all others and ends the look.
        let ours = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut next = accept.await.unwrap().1;
        while next != ours.local_addr().unwrap() {
            came.push(address.ip());
            next = listener.accept().await.unwrap().1;
        }
    }
    came
}

#[tokio::test]
async fn real_sockets_see_nobody_but_who_may_come() {
    let (port, listeners) = everywhere().await;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mut forms = filled(&FORMS, port);
    forms.extend(filled(&NEVER, port).into_iter().chain(long(port)).chain(secure(&FORMS)));
    forms.extend([format!("http://{}:{port}/", host.trim()), format!("https://{}/", host.trim())]);
    // Names that only the network could know are for the other tests.
    forms.retain(|form| !form.contains("example"));
    // Nobody answers: who comes in is left soon.
    let limits = Limits { whole: Duration::from_millis(200), ..Limits::default() };
    let hurried = StreamLimits { first: limits.whole, ..StreamLimits::default() };
    let visitors = async |policy: Policy| {
        let egress = Egress::new(policy, limits);
        for form in &forms {
            assert!(egress.send(get(form)).await.is_err() && egress.open(get(form), hurried).await.is_err(), "{form:?}");
        }
        accepted(&listeners).await
    };
    assert_eq!(visitors(Policy::default()).await, [""; 0].map(ip));
    assert_eq!(visitors(opened(&["10.99.0.0/16"])).await, [""; 0].map(ip));
    let came = visitors(opened(&["127.0.0.2/32"])).await;
    assert!(came.len() >= 2 && came.iter().all(|address| *address == ip("127.0.0.2")), "what is opened, and nothing else: {came:?}");
}
