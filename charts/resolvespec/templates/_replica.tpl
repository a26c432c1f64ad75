{{/* What only replicas have: MQTT, the databases' URLs, the secret of tokens. */}}

{{- define "resolvespec.mqttEnv" -}}
{{- $m := .Values.mqtt -}}
- name: RESOLVESPEC_MQTT_BROKERS
  {{- if .Values.mosquitto.enabled }}
  value: {{ printf "mqtt://%s-mosquitto:1883" (include "resolvespec.fullname" .) | quote }}
  {{- else }}
  value: {{ join "," $m.brokers | quote }}
  {{- end }}
{{- with $m.publicUrls }}
- name: RESOLVESPEC_MQTT_PUBLIC_URLS
  value: {{ join "," . | quote }}
{{- end }}
- name: RESOLVESPEC_MQTT_PREFIX
  value: {{ $m.prefix | quote }}
{{- if $m.groupSecret.name }}
- name: RESOLVESPEC_MQTT_GROUP
  valueFrom: {secretKeyRef: {name: {{ $m.groupSecret.name }}, key: {{ $m.groupSecret.key }}}}
{{- else if $m.group }}
- name: RESOLVESPEC_MQTT_GROUP
  value: {{ $m.group | quote }}
{{- end }}
{{- with $m.clientClaim }}
- name: RESOLVESPEC_MQTT_CLIENT_CLAIM
  value: {{ . | quote }}
{{- end }}
{{- with $m.credentials.user }}
- name: RESOLVESPEC_MQTT_USER
  value: {{ . | quote }}
- name: RESOLVESPEC_MQTT_PASSWORD_FILE
  value: /run/resolvespec/mqtt/{{ $m.credentials.passwordKey }}
{{- end }}
{{- range $key, $variable := dict "caKey" "CA" "certKey" "CERT" "keyKey" "KEY" }}
{{- with get $m.tls $key }}
- name: RESOLVESPEC_MQTT_{{ $variable }}
  value: /run/resolvespec/mqtt-tls/{{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "resolvespec.replicaMounts" -}}
{{- if .Values.operator.enabled }}
- {name: databases, mountPath: {{ include "resolvespec.databasesPath" . }}, readOnly: true}
{{- end }}
{{- if .Values.authentication.jwtSecret.name }}
- {name: jwt, mountPath: /run/resolvespec/jwt, readOnly: true}
{{- end }}
{{- include "resolvespec.natsMounts" . }}
{{- if .Values.mqtt.credentials.secretName }}
- {name: mqtt, mountPath: /run/resolvespec/mqtt, readOnly: true}
{{- end }}
{{- if .Values.mqtt.tls.secretName }}
- {name: mqtt-tls, mountPath: /run/resolvespec/mqtt-tls, readOnly: true}
{{- end }}
{{- with .Values.replicas.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "resolvespec.replicaVolumes" -}}
{{- if .Values.operator.enabled }}
- name: databases
  # Written by the operator. A pod starts without it as well, should somebody have removed it.
  secret: {secretName: {{ include "resolvespec.databasesSecret" . }}, optional: true, defaultMode: 0440}
{{- end }}
{{- with .Values.authentication.jwtSecret.name }}
- name: jwt
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- include "resolvespec.natsVolumes" . }}
{{- with .Values.mqtt.credentials.secretName }}
- name: mqtt
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.mqtt.tls.secretName }}
- name: mqtt-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.replicas.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
