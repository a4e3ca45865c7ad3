// Does what the first word of its input says.
import java.io.IOException;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Scanner;

public class Tasks {
    static class Block {
        final byte[] bytes = new byte[16 << 20];

        Block() {
            Arrays.fill(bytes, (byte) 1);
        }
    }

    public static void main(String[] arguments) {
        Scanner input = new Scanner(System.in);
        String task = input.next();
        String first = input.next();
        int second = input.nextInt();
        switch (task) {
            case "sum":
                System.out.println(Integer.parseInt(first) + second);
                break;
            case "fail":
                System.err.println("failing");
                System.exit(3);
            case "spin":
                while (true) {}
            case "hoard":
                ArrayList<Block> blocks = new ArrayList<>();
                for (int i = 0; i < 256; i++) blocks.add(new Block());
                System.out.println("hoarded " + blocks.size());
                break;
            case "look":
                if (Files.isReadable(Path.of(first))) System.out.println("file");
                try (Socket connection = new Socket("127.0.0.1", second)) {
                    System.out.println("network");
                } catch (IOException refused) {
                }
                System.out.println("looked");
        }
    }
}
