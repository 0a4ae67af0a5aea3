{{- /* The ports of the databases that pgsvid looks at over the network, one a line. */}}
{{- define "pgsvid.databasePorts" -}}
{{- $ports := list -}}
{{- range .Values.config.served }}
{{- $ports = append $ports (regexFind ":[0-9]+$" (toString .address) | trimPrefix ":" | default "5432") -}}
{{- end -}}
{{- if hasKey .Values.config "client" -}}
{{- $clients := .Values.config.client -}}
{{- if not (kindIs "slice" $clients) }}{{ $clients = list $clients }}{{ end -}}
{{- $services := (default (dict) .Values.config.files).service -}}
{{- if not (kindIs "slice" $services) }}{{ $services = list $services }}{{ end -}}
{{- range concat $clients $services }}
{{- range splitList "," (toString (default 5432 (default (dict) (default (dict) .).options).port)) }}{{ $ports = append $ports . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | sortAlpha | join "\n" -}}
{{- end }}
