{{/* What things are called, and which labels they have. */}}

{{- define "resolvespec.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 43 | trimSuffix "-" -}}
{{- end -}}

{{- define "resolvespec.fullname" -}}
{{- $name := include "resolvespec.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 43 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a component: dict "root" $ "component" "…". It can't change, so no version is in it. */}}
{{- define "resolvespec.selector" -}}
app.kubernetes.io/name: {{ include "resolvespec.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "resolvespec.labels" -}}
{{ include "resolvespec.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "resolvespec.replicaAccount" -}}
{{- with .Values.serviceAccounts.replicas -}}
{{- if .create }}{{ default (include "resolvespec.fullname" $) .name }}{{ else }}{{ default "default" .name }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "resolvespec.operatorAccount" -}}
{{- with .Values.serviceAccounts.operator -}}
{{- if .create }}{{ default (printf "%s-operator" (include "resolvespec.fullname" $)) .name }}{{ else }}{{ default "default" .name }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "resolvespec.databasesSecret" -}}
{{ include "resolvespec.fullname" . }}-databases
{{- end -}}

{{/* The folder where replicas have that Secret. */}}
{{- define "resolvespec.databasesPath" -}}
/run/resolvespec/databases
{{- end -}}

{{- define "resolvespec.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}
