{{/* What has to be chosen, and what does not go together: said before anything is rendered. */}}

{{- define "resolvespec.check" -}}
{{- $a := .Values.authentication -}}
{{- if not (or $a.allowAnonymous $a.jwtSecret.name $a.jwks) -}}
{{- fail "\nWho may enter has to be said. Set one of:\n  authentication.jwtSecret.name    a Secret of yours; its key `secret` has the secret of HS256 tokens\n  authentication.jwks              the URL of the key set that tokens are checked with\n  authentication.allowAnonymous    true: everybody" -}}
{{- end -}}
{{- if and $a.jwtSecret.name $a.jwks -}}
{{- fail "\nTokens are checked with a secret or with a key set: set authentication.jwtSecret.name or authentication.jwks, not both." -}}
{{- end -}}
{{- $n := .Values.nats -}}
{{- if not (or $n.enabled $n.servers) -}}
{{- fail "\nReplicas share changes and catalog through NATS. Set nats.servers to URLs of your own, or nats.enabled=true for one to try it with." -}}
{{- end -}}
{{- if and $n.enabled $n.servers -}}
{{- fail "\nSet nats.servers, or nats.enabled for one to try it with, not both." -}}
{{- end -}}
{{- $c := $n.credentials -}}
{{- $ways := list -}}
{{- range $key := list "passwordKey" "tokenKey" "nkeyKey" "credsKey" }}{{ if get $c $key }}{{ $ways = append $ways $key }}{{ end }}{{ end -}}
{{- if and $c.secretName (ne (len $ways) 1) -}}
{{- fail "\nnats.credentials.secretName needs one of passwordKey, tokenKey, nkeyKey and credsKey: the key of the Secret with what NATS is entered with." -}}
{{- end -}}
{{- if and $ways (not $c.secretName) -}}
{{- fail "\nnats.credentials names a key and no Secret: set nats.credentials.secretName." -}}
{{- end -}}
{{- if ne (empty $c.user) (empty $c.passwordKey) -}}
{{- fail "\nnats.credentials.user and nats.credentials.passwordKey go together." -}}
{{- end -}}
{{- range $what := list "nats" "mqtt" -}}
{{- $tls := (get $.Values $what).tls -}}
{{- if ne (empty $tls.certKey) (empty $tls.keyKey) -}}
{{- fail (printf "\n%s.tls.certKey and %s.tls.keyKey go together." $what $what) -}}
{{- end -}}
{{- if ne (empty $tls.secretName) (not (or $tls.caKey $tls.certKey)) -}}
{{- fail (printf "\n%s.tls.secretName goes with caKey, or certKey and keyKey: the keys that the Secret has." $what) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.mosquitto.enabled .Values.mqtt.brokers -}}
{{- fail "\nSet mqtt.brokers, or mosquitto.enabled for one to try it with, not both." -}}
{{- end -}}
{{- if and (or .Values.mosquitto.enabled .Values.mqtt.brokers) (or $a.jwtSecret.name $a.jwks) (not .Values.mqtt.clientClaim) -}}
{{- fail "\nWhich clients of MQTT may use a token has to be said: set mqtt.clientClaim to the claim that has the client's id, or to none where brokers ask /mqtt/auth or bind client ids to users by themselves." -}}
{{- end -}}
{{- if ne (empty .Values.mqtt.credentials.secretName) (empty .Values.mqtt.credentials.user) -}}
{{- fail "\nmqtt.credentials.secretName and mqtt.credentials.user go together." -}}
{{- end -}}
{{- if and .Values.operator.watchAllNamespaces .Values.operator.watchNamespaces -}}
{{- fail "\nSet operator.watchNamespaces or operator.watchAllNamespaces, not both." -}}
{{- end -}}
{{- $w := .Values.operator.webhook -}}
{{- if and $w.enabled (not $w.tls.secretName) -}}
{{- fail "\nAPI servers speak HTTPS with webhooks: operator.webhook.enabled needs operator.webhook.tls.secretName, a Secret of type kubernetes.io/tls." -}}
{{- end -}}
{{- if and $w.enabled (not $w.tls.caBundle) (not $w.annotations) -}}
{{- fail "\noperator.webhook.enabled needs to be trusted by the API server: set operator.webhook.tls.caBundle, or an annotation by which it is put in, such as cert-manager.io/inject-ca-from." -}}
{{- end -}}
{{- if and $w.enabled (not .Values.operator.enabled) -}}
{{- fail "\noperator.webhook.enabled needs operator.enabled: it is the operator that answers." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "\ningress.enabled needs ingress.hosts." -}}
{{- end -}}
{{- if and .Values.ingress.grpc.enabled (not .Values.ingress.grpc.hosts) -}}
{{- fail "\ningress.grpc.enabled needs ingress.grpc.hosts." -}}
{{- end -}}
{{- $g := .Values.gateway -}}
{{- if and $g.enabled (not $g.parentRefs) -}}
{{- fail "\ngateway.enabled needs gateway.parentRefs: the Gateways that the routes belong to." -}}
{{- end -}}
{{- range $g.grpcHostnames -}}
{{- if or (not $g.hostnames) (has . $g.hostnames) -}}
{{- fail (printf "\nThe host %s has routes of HTTP or of gRPC, never both: give gateway.hostnames and gateway.grpcHostnames hosts of their own." .) -}}
{{- end -}}
{{- end -}}
{{- $e := .Values.networkPolicy -}}
{{- if and $e.enabled $e.egress.enabled (not $e.egress.rules) -}}
{{- fail "\nnetworkPolicy.egress.enabled needs networkPolicy.egress.rules: without any, no database can be reached." -}}
{{- end -}}
{{- if and $e.enabled $e.egress.enabled .Values.operator.enabled (not $e.egress.apiServer) -}}
{{- fail "\nnetworkPolicy.egress.enabled needs networkPolicy.egress.apiServer: without it the operator can't reach the API server." -}}
{{- end -}}
{{- $s := .Values.autoscaling -}}
{{- if and $s.enabled (gt (int $s.minReplicas) (int $s.maxReplicas)) -}}
{{- fail "\nautoscaling.minReplicas is more than autoscaling.maxReplicas." -}}
{{- end -}}
{{- if and $s.enabled (not (or $s.targetCPU $s.targetWebSockets $s.targetGrpcStreams)) -}}
{{- fail "\nautoscaling.enabled needs one of targetCPU, targetWebSockets and targetGrpcStreams." -}}
{{- end -}}
{{- end -}}
