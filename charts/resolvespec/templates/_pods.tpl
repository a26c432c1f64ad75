{{/* What the pods of replicas, operator and trial servers have in common. */}}

{{/* The level `restricted` of the pod security standards; with the container's part below. */}}
{{- define "resolvespec.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
# So that Secrets and volumes can be read, which belong to root.
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "resolvespec.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where a pod may run and how it is pulled: dict "root" $ "of" (the component's values). */}}
{{- define "resolvespec.scheduling" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Spreads a component's pods over zones and nodes. */}}
{{- define "resolvespec.spread" -}}
{{- $selector := include "resolvespec.selector" . -}}
{{- range $number, $topology := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
{{- if $number }}
{{ end }}- maxSkew: 1
  topologyKey: {{ $topology }}
  # As well as it can be: two pods on one node are better than one that waits for a node.
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- $selector | nindent 6 }}
  # Pods of the version before are on their way out and do not count.
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end -}}

{{/* The admin port's answers: alive is who answers; ready is for the Services. */}}
{{- define "resolvespec.probes" -}}
livenessProbe:
  httpGet: {path: /health, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  # It asks the databases, so it has more time than the usual second.
  httpGet: {path: /ready, port: admin}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* The settings of NATS, which replicas and operator have in common. */}}
{{- define "resolvespec.natsEnv" -}}
{{- $n := .Values.nats -}}
- name: RESOLVESPEC_NATS_SERVERS
  {{- if $n.enabled }}
  value: {{ printf "nats://%s-nats:4222" (include "resolvespec.fullname" .) | quote }}
  {{- else }}
  value: {{ join "," $n.servers | quote }}
  {{- end }}
- name: RESOLVESPEC_NATS_NAME
  value: {{ $n.name | quote }}
- name: RESOLVESPEC_NATS_REPLICAS
  value: {{ $n.replicas | quote }}
{{- range $key, $variable := dict "eventsSeconds" "EVENTS_SECONDS" "eventsBytes" "EVENTS_BYTES" "duplicateSeconds" "DUPLICATE_SECONDS" "bucketBytes" "BUCKET_BYTES" }}
{{- with get $n $key }}
- name: RESOLVESPEC_NATS_{{ $variable }}
  value: {{ int64 . | quote }}
{{- end }}
{{- end }}
{{- if $n.tls.required }}
- name: RESOLVESPEC_NATS_TLS
  value: "true"
{{- end }}
{{- range $key, $variable := dict "caKey" "CA" "certKey" "CERT" "keyKey" "KEY" }}
{{- with get $n.tls $key }}
- name: RESOLVESPEC_NATS_{{ $variable }}
  value: /run/resolvespec/nats-tls/{{ . }}
{{- end }}
{{- end }}
{{- with $n.credentials.user }}
- name: RESOLVESPEC_NATS_USER
  value: {{ . | quote }}
{{- end }}
{{- range $key, $variable := dict "passwordKey" "PASSWORD_FILE" "tokenKey" "TOKEN_FILE" "nkeyKey" "NKEY_FILE" "credsKey" "CREDS" }}
{{- with get $n.credentials $key }}
- name: RESOLVESPEC_NATS_{{ $variable }}
  value: /run/resolvespec/nats/{{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Secrets as files and not as variables: they are in no listing of the pod. */}}
{{- define "resolvespec.natsMounts" -}}
{{- if .Values.nats.credentials.secretName }}
- {name: nats, mountPath: /run/resolvespec/nats, readOnly: true}
{{- end }}
{{- if .Values.nats.tls.secretName }}
- {name: nats-tls, mountPath: /run/resolvespec/nats-tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "resolvespec.natsVolumes" -}}
{{- with .Values.nats.credentials.secretName }}
- name: nats
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.nats.tls.secretName }}
- name: nats-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end -}}
