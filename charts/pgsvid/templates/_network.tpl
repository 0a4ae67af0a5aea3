{{- /* The ports of the API server, one a line: the port of config.kubernetes.server, or those of the values. */}}
{{- define "pgsvid.apiServerPorts" -}}
{{- $server := include "pgsvid.remote" . | trimPrefix "https://" | trimSuffix "/" -}}
{{- if $server -}}
{{- regexFind ":[0-9]+$" $server | trimPrefix ":" | default "443" -}}
{{- else -}}
{{- range $index, $port := .Values.networkPolicy.apiServer.ports }}{{ if $index }}{{ "\n" }}{{ end }}{{ int $port }}{{ end -}}
{{- end -}}
{{- end }}

{{- /* The ports of the databases that pgsvid looks at over the network, one a line. */}}
{{- define "pgsvid.databasePorts" -}}
{{- $ports := list -}}
{{- $tables := .Values.config.served -}}
{{- if kindIs "map" $tables }}{{ $tables = list $tables }}{{ end -}}
{{- range $tables }}
{{- $address := toString .address -}}
{{- /* More than one colon without brackets is an address of IPv6 without a port. */}}
{{- $port := "" -}}
{{- if regexMatch "^([^:]*|\\[.*\\]):[0-9]+$" $address }}{{ $port = regexFind "[0-9]+$" $address }}{{ end -}}
{{- $ports = append $ports (default "5432" $port) -}}
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
