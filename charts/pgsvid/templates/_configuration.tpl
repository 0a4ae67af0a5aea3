{{- /* pgsvid.toml, and what follows from it. */}}

{{- /* The configuration, with the Lease's name and namespace if there is one. */}}
{{- define "pgsvid.toml" -}}
{{- $config := deepCopy .Values.config -}}
{{- if include "pgsvid.lease" . -}}
{{- $own := dict "name" (include "pgsvid.leaseName" .) "namespace" (include "pgsvid.leaseNamespace" .) -}}
{{- $lease := merge $own (default (dict) .Values.config.lease) -}}
{{- $_ := set $config "lease" $lease -}}
{{- end -}}
{{- include "pgsvid.wholeNumbers" $config -}}
{{- $toml := toToml $config -}}
{{- /* Helm returns an error as the text. */}}
{{- if hasPrefix "toml:" $toml -}}
{{- fail (printf "[pgsvid/not-toml] config cannot be written as TOML: %s; remove what is null" $toml) -}}
{{- end -}}
{{- $toml -}}
{{- end }}

{{- /*
Turns each whole number of a map, and of the maps and lists in it, into an integer, in place. Helm reads numbers as floats, and
would write port = 5432.0. The configuration has no key whose value is a float.
*/}}
{{- define "pgsvid.wholeNumbers" -}}
{{- $map := . -}}
{{- range $key, $value := $map -}}
{{- if kindIs "map" $value -}}
{{- include "pgsvid.wholeNumbers" $value -}}
{{- else if kindIs "slice" $value -}}
{{- $list := list -}}
{{- range $item := $value -}}
{{- if kindIs "map" $item -}}{{- include "pgsvid.wholeNumbers" $item -}}{{- end -}}
{{- if include "pgsvid.isWhole" $item -}}
{{- $list = append $list (int64 $item) -}}
{{- else -}}
{{- $list = append $list $item -}}
{{- end -}}
{{- end -}}
{{- $_ := set $map $key $list -}}
{{- else if include "pgsvid.isWhole" $value -}}
{{- $_ := set $map $key (int64 $value) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* Not empty for a float without a fraction. */}}
{{- define "pgsvid.isWhole" -}}
{{- if kindIs "float64" . -}}{{- if eq . (floor .) -}}yes{{- end -}}{{- end -}}
{{- end }}

{{- /*
Not empty if a Lease decides which pod writes. Even a single replica can be two pods for a while: nobody ends the old one on a node that
is cut off. In another cluster nobody has granted a Lease, unless the values name one.
*/}}
{{- define "pgsvid.lease" -}}
{{- if eq .Values.mode "publisher" -}}
{{- if or (hasKey .Values.config "lease") (gt (int .Values.replicas) 1) (not (include "pgsvid.remote" .)) -}}yes{{- end -}}
{{- end -}}
{{- end }}

{{- define "pgsvid.leaseName" -}}
{{- default (include "pgsvid.fullname" .) (default (dict) .Values.config.lease).name -}}
{{- end }}

{{- define "pgsvid.leaseNamespace" -}}
{{- $own := default .Release.Namespace (default (dict) .Values.config.kubernetes).namespace -}}
{{- default $own (default (dict) .Values.config.lease).namespace -}}
{{- end }}

{{- define "pgsvid.endpoint" -}}
{{- default "" (default (dict) .Values.config.workload_api).endpoint -}}
{{- end }}

{{- /* The directory of the agent's socket; empty if there is none. */}}
{{- define "pgsvid.socketDirectory" -}}
{{- $endpoint := include "pgsvid.endpoint" . -}}
{{- if hasPrefix "unix:" $endpoint -}}
{{- printf "/%s" ($endpoint | trimPrefix "unix:" | trimAll "/") | dir -}}
{{- end -}}
{{- end }}

{{- /* Where PostgreSQL's Unix socket is, for the sidecar. */}}
{{- define "pgsvid.postgresqlDirectory" -}}
{{- $tables := .Values.config.postgres -}}
{{- if not (kindIs "slice" $tables) -}}{{- $tables = list (default (dict) $tables) -}}{{- end -}}
{{- default "/var/run/postgresql" (default (dict) (first $tables)).host -}}
{{- end }}

{{- define "pgsvid.directory" -}}
{{- default "" (default (dict) .Values.config.files).directory -}}
{{- end }}

{{- /* The first name of [files.service], for PGSERVICE. */}}
{{- define "pgsvid.service" -}}
{{- $tables := (default (dict) .Values.config.files).service -}}
{{- if not (kindIs "slice" $tables) -}}{{- $tables = list (default (dict) $tables) -}}{{- end -}}
{{- default "" (default (dict) (first $tables)).name -}}
{{- end }}

{{- /* The port of health.listen; empty if pgsvid listens on no port, or only on the loopback interface. */}}
{{- define "pgsvid.metricsPort" -}}
{{- $listen := toString (default "" (default (dict) .Values.config.health).listen) -}}
{{- if not (regexMatch "^(unix:|127\\.|localhost:|\\[::1\\])" $listen) -}}
{{- regexFind ":[0-9]+$" $listen | trimPrefix ":" -}}
{{- end -}}
{{- end }}

{{- /* The service file's name. */}}
{{- define "pgsvid.serviceFile" -}}
{{- $tables := (default (dict) .Values.config.files).service -}}
{{- if not (kindIs "slice" $tables) -}}{{- $tables = list (default (dict) $tables) -}}{{- end -}}
{{- default "pg_service.conf" (default (dict) (first $tables)).file -}}
{{- end }}
