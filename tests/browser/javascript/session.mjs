// What somebody writes with the AWS SDK for JavaScript v3. Endpoint, region and keys come from `skylift shellenv`;
// this SDK does not read disable_host_prefix_injection, so that MWAA's client is told not to put api. before the host.
import {
  CreateClusterCommand, DescribeTasksCommand, ECSClient, RegisterTaskDefinitionCommand, RunTaskCommand,
  waitUntilTasksStopped,
} from "@aws-sdk/client-ecs";
import { CreateWebLoginTokenCommand, GetEnvironmentCommand, ListEnvironmentsCommand, MWAAClient } from "@aws-sdk/client-mwaa";
import {
  CreateBucketCommand, DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client,
} from "@aws-sdk/client-s3";

const [environment, image] = process.argv.slice(2);
const seen = {};

async function refusal(call) {
  try {
    await call;
  } catch (error) {
    return [error.name, error.$metadata?.httpStatusCode];
  }
  return ["nothing was refused", 0];
}

const mwaa = new MWAAClient({ endpoint: process.env.AWS_ENDPOINT_URL, disableHostPrefix: true });
seen.environments = (await mwaa.send(new ListEnvironmentsCommand({}))).Environments;
const found = (await mwaa.send(new GetEnvironmentCommand({ Name: environment }))).Environment;
seen.environment = { status: found.Status, created: found.CreatedAt instanceof Date };
const token = await mwaa.send(new CreateWebLoginTokenCommand({ Name: environment }));
seen.token = Boolean(token.WebToken && token.WebServerHostname);
seen.noEnvironment = await refusal(mwaa.send(new GetEnvironmentCommand({ Name: "nobody" })));

const ecs = new ECSClient({});
await ecs.send(new CreateClusterCommand({ clusterName: "javascript" }));
await ecs.send(new RegisterTaskDefinitionCommand({
  family: "javascript", networkMode: "awsvpc", requiresCompatibilities: ["FARGATE"], cpu: "256", memory: "512",
  containerDefinitions: [{ name: "main", image, command: ["python", "-c", "raise SystemExit(7)"] }],
}));
const started = await ecs.send(new RunTaskCommand({
  cluster: "javascript", taskDefinition: "javascript", launchType: "FARGATE",
  networkConfiguration: { awsvpcConfiguration: { subnets: ["subnet-1"] } },
}));
const tasks = { cluster: "javascript", tasks: [started.tasks[0].taskArn] };
await waitUntilTasksStopped({ client: ecs, maxWaitTime: 120, minDelay: 1, maxDelay: 2 }, tasks);
const [task] = (await ecs.send(new DescribeTasksCommand(tasks))).tasks;
seen.task = { status: task.lastStatus, code: task.containers[0].exitCode, stopped: task.stoppedAt instanceof Date };
seen.noCluster = await refusal(ecs.send(new RunTaskCommand({ cluster: "nobody", taskDefinition: "javascript" })));

const s3 = new S3Client({ forcePathStyle: true });
const object = { Bucket: "javascript", Key: "a b/ü.txt" };
await s3.send(new CreateBucketCommand({ Bucket: "javascript" }));
await s3.send(new PutObjectCommand({ ...object, Body: "hello", Metadata: { colour: "blue" } }));
const read = await s3.send(new GetObjectCommand({ ...object, ChecksumMode: "ENABLED" }));
seen.object = { text: await read.Body.transformToString(), metadata: read.Metadata, checksum: Boolean(read.ChecksumCRC32) };
seen.keys = (await s3.send(new ListObjectsV2Command({ Bucket: "javascript" }))).Contents.map((one) => one.Key);
await s3.send(new DeleteObjectCommand(object));
seen.noObject = await refusal(s3.send(new GetObjectCommand(object)));

console.log(JSON.stringify(seen));
