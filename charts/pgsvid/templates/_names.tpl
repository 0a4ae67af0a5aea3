{{- /* Names and labels. */}}

{{- define "pgsvid.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- /* The name of most objects. 52 characters at most, because some get a suffix. */}}
{{- define "pgsvid.fullname" -}}
{{- $name := include "pgsvid.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- /*
Unique in the cluster: for objects without a namespace, and in namespaces of others. A namespace has no dot, so no other release has
the same name.
*/}}
{{- define "pgsvid.globalName" -}}
{{- printf "%s.%s" .Release.Namespace (include "pgsvid.fullname" .) -}}
{{- end }}

{{- define "pgsvid.serviceAccountName" -}}
{{- default (include "pgsvid.fullname" .) .Values.serviceAccount.name -}}
{{- end }}

{{- define "pgsvid.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pgsvid.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "pgsvid.labels" -}}
{{ include "pgsvid.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | quote }}
{{- end }}

{{- /* The labels of the pods that run pgsvid: the publisher's own, or those that the values name. */}}
{{- define "pgsvid.podSelector" -}}
{{- if eq .Values.mode "publisher" -}}
{{ include "pgsvid.selectorLabels" . }}
{{- else -}}
{{ toYaml .Values.podSelector }}
{{- end -}}
{{- end }}

{{- define "pgsvid.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end }}
