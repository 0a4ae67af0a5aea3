import com.zaxxer.hikari.HikariConfig;
import java.time.Duration;

/** pgjdbc reads what the URL names for each connection: a key store, or the service file. */
class Pool {
    static HikariConfig configuration(String url) {
        HikariConfig configuration = new HikariConfig();
        configuration.setJdbcUrl(url);
        configuration.setMaxLifetime(Duration.ofMinutes(10).toMillis());
        return configuration;
    }
}
