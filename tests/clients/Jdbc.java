import java.io.File;
import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.cert.Certificate;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.util.Collections;
import java.util.Properties;

/** What Java and pgjdbc make of the published files. */
class Jdbc {
    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "key-store" -> keyStore(arguments[1], arguments[2]);
            case "trust-store" -> trustStore(arguments[1], arguments.length > 2 ? arguments[2] : null);
            case "connect" -> connect(arguments[1], new File(arguments[2]));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static KeyStore load(String file, String password) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (FileInputStream in = new FileInputStream(file)) {
            store.load(in, password == null ? null : password.toCharArray());
        }
        return store;
    }

    private static void keyStore(String file, String password) throws Exception {
        KeyStore store = load(file, password);
        for (String alias : Collections.list(store.aliases())) {
            PrivateKey key = (PrivateKey) store.getKey(alias, password.toCharArray());
            Certificate[] chain = store.getCertificateChain(alias);
            String algorithm = key.getAlgorithm().equals("EC") ? "SHA256withECDSA" : "SHA256withRSA";
            Signature signature = Signature.getInstance(algorithm);
            signature.initSign(key);
            signature.update((byte) 1);
            byte[] signed = signature.sign();
            signature.initVerify(chain[0].getPublicKey());
            signature.update((byte) 1);
            System.out.println(alias + " " + key.getAlgorithm() + " chain=" + chain.length
                + " own=" + signature.verify(signed));
        }
    }

    private static void trustStore(String file, String password) throws Exception {
        KeyStore store = load(file, password);
        int trusted = 0;
        for (String alias : Collections.list(store.aliases())) {
            trusted += store.isCertificateEntry(alias) ? 1 : 0;
        }
        System.out.println("trusted=" + trusted);
        // What TLS makes of it: without a trusted entry this fails.
        javax.net.ssl.TrustManagerFactory factory =
            javax.net.ssl.TrustManagerFactory.getInstance("PKIX");
        factory.init(store);
        javax.net.ssl.X509TrustManager manager =
            (javax.net.ssl.X509TrustManager) factory.getTrustManagers()[0];
        System.out.println("accepted=" + manager.getAcceptedIssuers().length);
    }

    /** Connects again and again until the file exists. */
    private static void connect(String url, File stop) throws Exception {
        int succeeded = 0;
        int failed = 0;
        while (!stop.exists()) {
            try (Connection connection = DriverManager.getConnection(url, new Properties());
                 ResultSet row = connection.createStatement().executeQuery("SELECT current_user")) {
                row.next();
                succeeded++;
                if (succeeded == 1) {
                    System.out.println("user=" + row.getString(1));
                }
            } catch (java.sql.SQLException error) {
                failed++;
                Throwable cause = error.getCause() == null ? error : error.getCause();
                System.out.println("error=" + error.getMessage() + " / " + cause.getMessage());
            }
        }
        System.out.println("succeeded=" + succeeded + " failed=" + failed);
    }
}
