import Glibc
import MusterSQLite

/// Keeps a read transaction open for a while, again and again.
struct Reader {
    private let path: String
    private let leash = Leash()
    private var dice: Dice

    init(path: String, options: Options) {
        self.path = path
        dice = Dice(seed: options.number("seed", default: 1) &* 31 &+ options.number("number", default: 8))
    }

    mutating func run() throws {
        while leash.isHeld {
            let connection = try Schedule.open(path: path, options: Options([]), dice: &dice)
            for _ in 0..<(1 + dice.roll(10)) where leash.isHeld {
                try connection.execute("BEGIN; SELECT count(*) FROM entry")
                usleep(UInt32(dice.roll(200_000)))
                try connection.execute("COMMIT")
                usleep(UInt32(dice.roll(100_000)))
            }
        }
    }
}
