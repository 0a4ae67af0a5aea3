import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.SQLException;
import java.sql.SQLTransientConnectionException;
import java.sql.Statement;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicInteger;

/** Opens connections through the pool until SIGTERM, and prints how many queries succeeded and how many failed. */
public class Main {
    static final AtomicInteger queries = new AtomicInteger();
    static final AtomicInteger failed = new AtomicInteger();
    static volatile boolean stop;

    /** HikariCP opens connections in the background, and tries again without a word: each failure counts here. */
    public static class Counted extends org.postgresql.Driver {
        @Override
        public Connection connect(String url, Properties properties) throws SQLException {
            try {
                return super.connect(url, properties);
            } catch (SQLException error) {
                failed(error);
                throw error;
            }
        }
    }

    static void failed(SQLException error) {
        failed.incrementAndGet();
        System.err.println("failed: " + error.getMessage() + " <- " + error.getCause());
    }

    public static void main(String[] arguments) throws Exception {
        HikariConfig configuration = Pool.configuration(System.getenv("JDBC_URL"));
        configuration.setDriverClassName(Counted.class.getName());
        configuration.setMaximumPoolSize(4);
        configuration.setConnectionTimeout(5000);
        configuration.setInitializationFailTimeout(-1);
        HikariDataSource pool = new HikariDataSource(configuration);
        Thread[] workers = new Thread[4];
        for (int i = 0; i < workers.length; i++) {
            workers[i] = new Thread(() -> work(pool));
            workers[i].start();
        }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stop = true;
            for (Thread worker : workers) {
                try {
                    worker.join();
                } catch (InterruptedException error) {
                    return;
                }
            }
            pool.close();
            System.out.println("queries=" + queries + " failed=" + failed);
        }));
    }

    /** HikariCP's shortest life of a connection is 30 seconds, so each is taken out of the pool after one query. */
    static void work(HikariDataSource pool) {
        while (!stop) {
            try (Connection connection = pool.getConnection(); Statement statement = connection.createStatement()) {
                statement.execute("SELECT 1");
                queries.incrementAndGet();
                pool.evictConnection(connection);
                Thread.sleep(50);
            } catch (SQLTransientConnectionException error) {
                // The pool has no connection yet. Why, is counted above.
            } catch (SQLException error) {
                failed(error);
            } catch (InterruptedException error) {
                return;
            }
        }
    }
}
