// HiveMQ's community edition in a process, with clients that are held to their own topics as its file of roles would do it.
//
// Arguments: a folder, a port, then user:password pairs, of which the first is the service. A client id has to be the user's name, but
// for the service's.

import com.hivemq.embedded.EmbeddedExtension;
import com.hivemq.embedded.EmbeddedHiveMQ;
import com.hivemq.extension.sdk.api.ExtensionMain;
import com.hivemq.extension.sdk.api.auth.SimpleAuthenticator;
import com.hivemq.extension.sdk.api.auth.parameter.SimpleAuthInput;
import com.hivemq.extension.sdk.api.auth.parameter.SimpleAuthOutput;
import com.hivemq.extension.sdk.api.auth.parameter.TopicPermission;
import com.hivemq.extension.sdk.api.packets.auth.DefaultAuthorizationBehaviour;
import com.hivemq.extension.sdk.api.parameter.ExtensionStartInput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStartOutput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStopInput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStopOutput;
import com.hivemq.extension.sdk.api.services.Services;
import com.hivemq.extension.sdk.api.services.builder.Builders;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

public final class Broker {
    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        Map<String, String> passwords = new HashMap<>();
        String service = arguments[2].split(":")[0];
        for (int place = 2; place < arguments.length; place++) {
            String[] pair = arguments[place].split(":");
            passwords.put(pair[0], pair[1]);
        }
        for (String name : new String[] {"conf", "data", "extensions"}) {
            Files.createDirectories(folder.resolve(name));
        }
        Files.writeString(folder.resolve("conf/config.xml"),
            "<hivemq><listeners><tcp-listener><port>" + arguments[1] + "</port><bind-address>127.0.0.1</bind-address></tcp-listener>"
            + "</listeners><anonymous-usage-statistics><enabled>false</enabled></anonymous-usage-statistics></hivemq>");
        EmbeddedExtension extension = EmbeddedExtension.builder().withId("own").withName("own topics").withVersion("1")
            .withAuthor("tests").withPriority(1).withStartPriority(1).withExtensionMain(new Own(service, passwords)).build();
        EmbeddedHiveMQ broker = EmbeddedHiveMQ.builder().withConfigurationFolder(folder.resolve("conf"))
            .withDataFolder(folder.resolve("data")).withExtensionsFolder(folder.resolve("extensions"))
            .withEmbeddedExtension(extension).build();
        broker.start().join();
        System.out.println("HiveMQ is at " + arguments[1]);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> broker.stop().join()));
        Thread.currentThread().join();
    }

    private record Own(String service, Map<String, String> passwords) implements ExtensionMain {
        @Override
        public void extensionStart(ExtensionStartInput input, ExtensionStartOutput output) {
            Services.securityRegistry().setAuthenticatorProvider(ignored -> (SimpleAuthenticator) this::judge);
        }

        @Override
        public void extensionStop(ExtensionStopInput input, ExtensionStopOutput output) {}

        private void judge(SimpleAuthInput input, SimpleAuthOutput output) {
            String user = input.getConnectPacket().getUserName().orElse("");
            String password = input.getConnectPacket().getPassword()
                .map(bytes -> StandardCharsets.UTF_8.decode(bytes).toString()).orElse("");
            String client = input.getClientInformation().getClientId();
            boolean is = password.equals(passwords.get(user)) && (user.equals(service) || user.equals(client));
            if (!is) {
                output.failAuthentication();
                return;
            }
            String space = "spec/" + client + "/";
            if (user.equals(service)) {
                add(output, "spec/+/request", TopicPermission.MqttActivity.SUBSCRIBE);
                add(output, "spec/#", TopicPermission.MqttActivity.PUBLISH);
            } else {
                add(output, space + "request", TopicPermission.MqttActivity.PUBLISH);
                add(output, space + "#", TopicPermission.MqttActivity.SUBSCRIBE);
            }
            output.getDefaultPermissions().setDefaultBehaviour(DefaultAuthorizationBehaviour.DENY);
            output.authenticateSuccessfully();
        }

        private void add(SimpleAuthOutput output, String filter, TopicPermission.MqttActivity activity) {
            output.getDefaultPermissions().add(Builders.topicPermission().topicFilter(filter).activity(activity)
                .type(TopicPermission.PermissionType.ALLOW).build());
        }
    }
}
