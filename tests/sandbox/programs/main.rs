// Does what the first word of its input says.
use std::io::Read;

fn main() {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).unwrap();
    let words: Vec<&str> = input.split_whitespace().collect();
    let (task, first, second) = (words[0], words[1], words[2]);
    match task {
        "sum" => println!("{}", first.parse::<i64>().unwrap() + second.parse::<i64>().unwrap()),
        "fail" => {
            eprintln!("failing");
            std::process::exit(3);
        }
        "spin" => loop {
            std::hint::spin_loop();
        },
        "hoard" => {
            let mut blocks = Vec::new();
            for _ in 0..256 {
                blocks.push(vec![b'x'; 16 << 20]);
            }
            println!("hoarded {}", blocks[7][7]);
        }
        "look" => {
            if std::fs::read(first).is_ok() {
                println!("file");
            }
            if std::net::TcpStream::connect(format!("127.0.0.1:{second}")).is_ok() {
                println!("network");
            }
            println!("looked");
        }
        _ => {}
    }
}
