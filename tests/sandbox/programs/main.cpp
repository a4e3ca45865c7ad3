// Does what the first word of its input says.
#include <arpa/inet.h>
#include <sys/socket.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

int main() {
    std::string task, first;
    long second;
    std::cin >> task >> first >> second;
    if (task == "sum") {
        std::cout << std::stol(first) + second << "\n";
    } else if (task == "fail") {
        std::cerr << "failing\n";
        std::exit(3);
    } else if (task == "spin") {
        for (volatile long i = 0;; i = i + 1) {
        }
    } else if (task == "hoard") {
        std::vector<std::vector<char>> blocks;
        for (int i = 0; i < 256; i++) blocks.emplace_back(16 << 20, 'x');
        std::cout << "hoarded" << blocks[7][7] << "\n";
    } else if (task == "look") {
        if (std::ifstream(first)) std::cout << "file\n";
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(second);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int connection = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
            std::cout << "network\n";
        std::cout << "looked\n";
    }
}
