<%@ page contentType="text/plain" import="java.net.InetAddress, java.nio.file.*, java.sql.*" %><%
    Class.forName("org.mariadb.jdbc.Driver");
    out.print(Files.readString(Path.of("/etc/greeting")));
    String password = Files.readString(Path.of("/run/secrets/password")).strip();
    try (Connection database = DriverManager.getConnection(System.getenv("DATABASE"), "shop", password);
         ResultSet goods = database.createStatement().executeQuery("SELECT name FROM goods ORDER BY name")) {
        while (goods.next()) out.println("buy " + goods.getString(1));
    }
    out.println("served by " + InetAddress.getLocalHost().getHostName());
%>
