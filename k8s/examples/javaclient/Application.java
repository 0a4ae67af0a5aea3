import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/** Queries through a pool until SIGTERM. Prints every ten seconds what it has counted since its start. */
public class Application {
    private static final AtomicInteger opened = new AtomicInteger();
    private static final AtomicInteger refused = new AtomicInteger();
    private static final AtomicInteger queries = new AtomicInteger();
    private static final AtomicInteger failed = new AtomicInteger();
    /** Serial numbers of the certificates that PostgreSQL has accepted. */
    private static final Set<String> certificates = ConcurrentHashMap.newKeySet();

    public static void main(String[] arguments) throws Exception {
        HikariConfig configuration = new HikariConfig();
        // The service file names the files of one rotation, and pgjdbc reads it for each connection. PGSERVICEFILE says where it is.
        configuration.setJdbcUrl("jdbc:postgresql://?service=products");
        // Shorter than the certificate's life. HikariCP takes no less than 30 seconds.
        configuration.setMaxLifetime(Duration.ofSeconds(30).toMillis());
        configuration.setMaximumPoolSize(10);
        // Only to count: without this line HikariCP finds pgjdbc by the URL.
        configuration.setDriverClassName(Counted.class.getName());
        HikariDataSource pool = new HikariDataSource(configuration);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            print();
            pool.close();
        }));
        new Thread(() -> work(pool)).start();
        while (true) {
            Thread.sleep(10_000);
            print();
        }
    }

    private static void work(HikariDataSource pool) {
        String query = "SELECT client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        while (true) {
            try (Connection connection = pool.getConnection();
                    Statement statement = connection.createStatement();
                    ResultSet result = statement.executeQuery(query)) {
                result.next();
                certificates.add(result.getString(1));
                queries.incrementAndGet();
            } catch (SQLException error) {
                failed.incrementAndGet();
                System.err.println("query failed: " + error);
            }
            try {
                Thread.sleep(200);
            } catch (InterruptedException error) {
                return;
            }
        }
    }

    private static void print() {
        System.out.printf("opened=%s refused=%s queries=%s failed=%s certificates=%d%n",
                opened, refused, queries, failed, certificates.size());
    }

    /** HikariCP opens connections in the background, and tries again without a message, so each attempt is counted here. */
    public static class Counted extends org.postgresql.Driver {
        @Override
        public Connection connect(String url, Properties properties) throws SQLException {
            try {
                Connection connection = super.connect(url, properties);
                opened.incrementAndGet();
                return connection;
            } catch (SQLException error) {
                refused.incrementAndGet();
                System.err.println("connection refused: " + error + " <- " + error.getCause());
                throw error;
            }
        }
    }
}
